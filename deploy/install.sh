#!/usr/bin/env bash
# Installs a published folder, or takes it away again:
#   deploy/install.sh [--prefix DIR] [FOLDER]     FOLDER: artifacts/publish/linux-x64 or linux-arm64, as this machine is
#   deploy/install.sh [--prefix DIR] --uninstall
# DIR (default /usr/local) gets bin/gemma4edge and share/gemma4edge/demo-model. Running it again updates both.
set -euo pipefail

prefix=/usr/local uninstall=no folder=
while [ $# -gt 0 ]; do
  case $1 in
    --prefix) prefix=${2:?"--prefix needs a folder"}; shift ;;
    --uninstall) uninstall=yes ;;
    -*) echo "install.sh: unknown option '$1'; known: --prefix DIR, --uninstall" >&2; exit 2 ;;
    *) folder=$1 ;;
  esac
  shift
done

binary=$prefix/bin/gemma4edge
share=$prefix/share/gemma4edge

if [ "$uninstall" = yes ]; then
  rm -f "$binary"
  rm -rf "$share"
  echo "removed $binary and $share"
  exit
fi

case $(uname -m) in aarch64) machine=linux-arm64 ;; *) machine=linux-x64 ;; esac
folder=${folder:-$(dirname "$0")/../artifacts/publish/$machine}
if [ ! -x "$folder/gemma4edge" ]; then
  echo "install.sh: no gemma4edge in $folder; publish first: deploy/publish.sh $machine" >&2
  exit 1
fi

# install replaces the file instead of writing into it: a running service keeps the old binary until its restart.
install -D -m 755 "$folder/gemma4edge" "$binary"
rm -rf "$share/demo-model"
install -d "$share"
cp -r "$folder/demo-model" "$share/demo-model"
chmod -R u=rwX,go=rX "$share"
echo "installed $("$binary" version) as $binary"
