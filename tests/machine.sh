# A machine to install on, for the tests of systemd/ and ansible/: the Debian of this machine, booted a second time in namespaces of its own.
# Sourced, not run. Its systemd is a real one and its PID 1. It sees this machine's files, and whatever it changes goes to memory and
# is gone with it; its network is a loopback of its own. Needs root and Debian's systemd.
#   machine_boot          boots it
#   machine COMMAND...    runs a command in it, as root
#   machine_off           takes the power away

umask 022             # what is installed is for the service's user to read
export LC_ALL=C.UTF-8 # the words that are looked for are English

machine_boot() {
  machine_folder=$(mktemp -d)
  unshare --kill-child --mount --pid --fork --uts --ipc --cgroup --net "$BASH" -c "$(declare -f machine_init); machine_init $machine_folder \"\$PWD\" \"\${TMPDIR:-/tmp}\"" >"$machine_folder/console" 2>&1 &
  machine_unshare=$!
  local end=$((SECONDS + 60))
  while [ $SECONDS -lt $end ] && kill -0 $machine_unshare 2>/dev/null; do
    machine_pid=$(pgrep -P $machine_unshare -f /lib/systemd/systemd) && machine systemctl is-active --quiet basic.target 2>/dev/null && return
    sleep 0.1
  done
  echo "the machine does not boot (root and namespaces are needed):" >&2
  cat "$machine_folder/console" >&2
  return 1
}

machine() { nsenter --target "$machine_pid" --all --wdns="$PWD" -- "$@"; }

machine_off() {
  [ -n "${machine_unshare:-}" ] || return 0
  kill -KILL "$machine_unshare" 2>/dev/null || true
  wait "$machine_unshare" 2>/dev/null || true
  rmdir "$machine_folder/disk" 2>/dev/null || true
  rm -rf "$machine_folder"
}

# In the namespaces, as their first process: the folder for its disk, and those that it must see.
machine_init() {
  set -eu
  local disk=$1/disk node folder
  shift
  mkdir "$disk"
  mount --make-rprivate /
  mount -t tmpfs tmpfs "$disk"
  mkdir "$disk/changes" "$disk/work" "$disk/root"
  mount -t overlay overlay -o "lowerdir=/,upperdir=$disk/changes,workdir=$disk/work" "$disk/root"
  for folder; do # a mount of its own is not seen through the one of /
    [ "$(findmnt -n -o TARGET -T "$folder")" = / ] || { mkdir -p "$disk/root$folder"; mount --bind "$folder" "$disk/root$folder"; }
  done
  cd "$disk/root"
  mount -t proc proc proc
  mount -t sysfs -o ro sysfs sys # read-only: no udev
  mount -t tmpfs -o mode=755 tmpfs dev
  mkdir dev/shm dev/pts
  mount -t tmpfs tmpfs dev/shm
  mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts dev/pts
  ln -s pts/ptmx dev/ptmx
  ln -s /proc/self/fd dev/fd
  for node in null zero full random urandom tty; do
    touch "dev/$node"
    mount --bind "/dev/$node" "dev/$node"
  done
  mount -t tmpfs tmpfs run
  mount -t cgroup2 cgroup2 sys/fs/cgroup
  mkdir -p etc/tmpfiles.d
  # they would empty or cover /tmp, where the tests have their files
  ln -sf /dev/null etc/tmpfiles.d/tmp.conf
  ln -sf /dev/null etc/systemd/system/tmp.mount
  ip link set lo up
  mkdir -p mnt/outside
  pivot_root . mnt/outside
  cd /
  umount -l /mnt/outside
  mount --make-rshared / # as systemd would outside of a container: credentials are mounted for the service to see
  exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin container=namespaces /lib/systemd/systemd --unit=basic.target
}
