# A machine to install on, for the tests of systemd/ and ansible/: the Debian of this machine, booted a second time in namespaces of its own.
# Sourced, not run. Its systemd is a real one and its PID 1. It sees this machine's files, and whatever it changes goes to memory and
# is gone with it; its network is a loopback of its own. Needs root and Debian's systemd.
#   machine_boot          boots it
#   machine COMMAND...    runs a command in it, as root
#   machine_off           takes the power away

machine_boot() {
  machine_folder=$(mktemp -d)
  unshare --kill-child --mount --pid --fork --uts --ipc --cgroup --net "$BASH" -c "$(declare -f machine_init); machine_init $machine_folder" >"$machine_folder/console" 2>&1 &
  machine_unshare=$!
  local i
  for i in $(seq 100); do
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

# In the namespaces, as their first process.
machine_init() {
  set -eu
  local disk=$1/disk node
  mkdir "$disk"
  mount --make-rprivate /
  mount -t tmpfs tmpfs "$disk"
  mkdir "$disk/changes" "$disk/work" "$disk/root"
  mount -t overlay overlay -o "lowerdir=/,upperdir=$disk/changes,workdir=$disk/work" "$disk/root"
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
  ln -sf /dev/null etc/tmpfiles.d/tmp.conf # it would empty /tmp, where the tests have their files
  ip link set lo up
  mkdir -p mnt/outside
  pivot_root . mnt/outside
  cd /
  umount -l /mnt/outside
  mount --make-rshared / # as systemd would outside of a container: credentials are mounted for the service to see
  exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin container=namespaces /lib/systemd/systemd --unit=basic.target
}
