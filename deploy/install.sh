#!/usr/bin/env bash
# Installs a published folder as a service, or takes it away again. deploy/publish.sh puts a copy of it into that folder:
#   sudo ./install.sh                 from the published folder; from a clone, it takes artifacts/publish/linux-x64 or linux-arm64
#   sudo ./install.sh --uninstall     leaves configuration, models and state where they are
#   ./install.sh --prefix DIR         program and demo model only, without a service (DIR instead of /usr/local)
#   --root DIR                        before every path: to build an image
# Running it again updates program, demo model and unit; a configuration that is there stays as it is.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
case $(uname -m) in aarch64) machine=linux-arm64 ;; *) machine=linux-x64 ;; esac
if [ -e "$here/gemma4edge" ]; then
  folder=$here units=$here/systemd samples=$here/conf.d
else
  folder=$here/../artifacts/publish/$machine units=$here/../systemd samples=$here/conf.d
fi

prefix=/usr/local root= uninstall=no service=yes
while [ $# -gt 0 ]; do
  case $1 in
    --prefix | --root) [ -n "${2:-}" ] || { echo "install.sh: $1 needs a folder" >&2; exit 2; } ;;&
    --prefix) prefix=$2 service=no; shift ;;
    --root) root=$2; shift ;;
    --uninstall) uninstall=yes ;;
    -h | --help) sed -n '2,/^set /s/^# //p' "$0"; exit ;;
    *) echo "install.sh: unknown option '$1'; known: --prefix DIR, --root DIR, --uninstall" >&2; exit 2 ;;
  esac
  shift
done

binary=$root$prefix/bin/gemma4edge
share=$root$prefix/share/gemma4edge
unit=$root/etc/systemd/system/gemma4edge.service
sysusers=$root/usr/lib/sysusers.d/gemma4edge.conf
configuration=$root/etc/gemma4edge/conf.d
# Only of the machine that runs: an image's systemd reads everything at its first start.
running() { [ -z "$root" ] && [ $service = yes ] && [ -d /run/systemd/system ]; }

if [ -z "$root" ] && [ $service = yes ] && [ "$(id -u)" != 0 ]; then
  echo "install.sh: /usr/local and /etc are root's: sudo $0; or --prefix DIR, without a service" >&2
  exit 1
fi

if [ $uninstall = yes ]; then
  if [ $service = yes ]; then
    ! running || systemctl disable --quiet --now gemma4edge 2>/dev/null || true
    rm -f "$unit" "$sysusers" "$root/etc/systemd/system/multi-user.target.wants/gemma4edge.service"
    ! running || systemctl daemon-reload
  fi
  rm -f "$binary"
  rm -rf "$share"
  echo "removed $binary and $share"
  [ $service = no ] || echo "kept $root/etc/gemma4edge, $root/var/lib/gemma4edge and the user gemma4edge"
  exit
fi

if [ ! -x "$folder/gemma4edge" ]; then
  echo "install.sh: no gemma4edge in $folder; publish first: deploy/publish.sh $machine" >&2
  exit 1
fi

if [ -z "$root" ] && ! "$folder/gemma4edge" version >/dev/null; then
  echo "install.sh: $folder/gemma4edge does not run on this machine ($(uname -m)); nothing was changed" >&2
  exit 1
fi

# Each appears whole or, on a full disk, not at all; a running service keeps the old ones until its restart.
trap 'rm -rf "$binary.new" "$share/demo-model.new"' EXIT
install -D -m 755 "$folder/gemma4edge" "$binary.new"
install -d -m 755 "$share"
rm -rf "$share/demo-model.new"
cp -r "$folder/demo-model" "$share/demo-model.new"
chmod -R u=rwX,go=rX "$share/demo-model.new"
mv "$binary.new" "$binary"
rm -rf "$share/demo-model"
mv "$share/demo-model.new" "$share/demo-model"
echo "installed $binary and $share/demo-model"
[ $service = yes ] || exit 0

install -D -m 644 "$units/gemma4edge.service" "$unit"
install -D -m 644 "$units/gemma4edge.sysusers" "$sysusers"
sample=$configuration/10-gemma4edge.json
if [ ! -e "$sample" ]; then
  install -D -m 644 "$samples/10-gemma4edge.json" "$sample"
  echo "installed $sample: a broker inside the service, the demo model"
elif ! cmp -s "$samples/10-gemma4edge.json" "$sample"; then
  echo "kept your $sample"
fi
if ! running; then
  echo "next: systemctl ${root:+--root=$root }enable gemma4edge; its user is made when that system starts"
  exit
fi

systemd-sysusers gemma4edge.conf
systemctl daemon-reload
"$binary" config check --config "$configuration" >/dev/null
if systemctl is-active --quiet gemma4edge; then
  echo "next: systemctl restart gemma4edge"
else
  echo "next: systemctl enable --now gemma4edge && gemma4edge send \"turn on the kitchen light\""
fi
