#!/usr/bin/env bash
# Publishes gemma4edge as native binaries, the demo model and all that install.sh installs beside each:
#   deploy/publish.sh [NAME...]      NAME: linux-x64, linux-arm64, linux-arm64-static; all three without one
# Each lands in artifacts/publish/NAME. The arm64 binary needs glibc 2.34 or newer, the static one nothing (no loader, no libc: phones).
# On Debian: apt-get install clang zlib1g-dev; for arm64 also
#   lld llvm gcc-aarch64-linux-gnu binutils-aarch64-linux-gnu libc6-dev-arm64-cross
set -euo pipefail
cd "$(dirname "$0")/.."

names=("$@")
[ $# -gt 0 ] || names=(linux-x64 linux-arm64 linux-arm64-static)

for name in "${names[@]}"; do
  case $name in
    linux-x64 | linux-arm64) options=(-r "$name") ;;
    # An object folder of its own: the link step would take the other arm64 binary as up to date.
    linux-arm64-static) options=(-r linux-arm64 -p:StaticExecutable=true -p:ArtifactsPivots=release_linux-arm64-static) ;;
    *) echo "publish.sh: unknown name '$name'; known: linux-x64, linux-arm64, linux-arm64-static" >&2; exit 2 ;;
  esac
  out=artifacts/publish/$name
  rm -rf "$out"
  dotnet publish src/Gemma4Edge.Cli -c Release "${options[@]}" -o "$out" --nologo -v minimal
  rm "$out"/*.xml "$out"/*.pdb
  cp -r deploy/demo-model deploy/conf.d deploy/install.sh systemd "$out"
  # One file instead of twenty for whoever installs from afar; the same bytes from the same files.
  tar -C deploy --sort=name --mtime=@0 --owner=root:0 --group=root:0 --mode=u=rwX,go=rX -cf "$out/demo-model.tar" demo-model
  echo "$out/gemma4edge: $(stat -c %s "$out/gemma4edge") bytes"
done
