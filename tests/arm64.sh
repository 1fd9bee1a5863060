#!/usr/bin/env bash
# Runs what depends on the instruction set as arm64 code under qemu, the kernel, the network and the conversion tests, on cortex-a72 (no dot product: Pi 4)
# and cortex-a76 (dot product: Pi 5).
# Needs qemu-user and, once, the network for the arm64 libraries (kept in ~/.cache/gemma4edge/arm64-root). Closes on `N passed, N failed, N skipped`.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
root=${ARM64_ROOT:-${HOME:-/root}/.cache/gemma4edge/arm64-root}
out=artifacts/publish/tests-linux-arm64

if [ ! -e "$root/complete" ]; then
  dpkg --print-foreign-architectures | grep -qx arm64 || { dpkg --add-architecture arm64 && apt-get update -qq; } || exit 1
  folder=$(mktemp -d)
  mkdir -p "$root"
  # libssl: xunit hashes its test ids
  (cd "$folder" && apt-get download -qq -o APT::Sandbox::User=root libc6:arm64 libgcc-s1:arm64 libstdc++6:arm64 libssl3:arm64 zlib1g:arm64) || exit 1
  for package in "$folder"/*.deb; do dpkg -x "$package" "$root" || exit 1; done
  rm -r "$folder"
  touch "$root/complete"
fi
if [ "${1:-}" = --root-only ]; then echo "$root"; exit; fi

# The tests refer to the Cli, a program of its own kind: that one need not be self-contained here.
dotnet publish tests/Gemma4Edge.Tests -c Release -r linux-arm64 --self-contained -o "$out" \
  -p:ValidateExecutableReferencesMatchSelfContained=false -v quiet --nologo || exit 1

# qemu-user 7.2 misses code written through the second mapping of W^X: illegal instructions at random.
export DOTNET_EnableWriteXorExecute=0
logs=$(mktemp -d)
cpus="cortex-a72 cortex-a76"
for cpu in $cpus; do # side by side: each runs its tests one after the other
  {
    timeout 2400 qemu-aarch64 -cpu "$cpu" -L "$root" "$out/Gemma4Edge.Tests" -noColor -noLogo \
      -parallel none -class 'Gemma4Edge.Tests.Kernels.*' -class '*.OracleTests' -class '*.TransformerTests' -class '*.ConvertedModelTests' \
      </dev/null >"$logs/$cpu" 2>&1
    echo $? >"$logs/$cpu.code"
  } &
done
wait

passed=0 failed=0 skipped=0
for cpu in $cpus; do
  log=$logs/$cpu
  code=$(cat "$log.code")
  # "Total: 30, Errors: 0, Failed: 0, Skipped: 0, Not Run: 0, Time: 1.2s"
  read -r total errors fails skips unrun _ < <(grep -o 'Total: .*' "$log" | tail -1 | tr -c '0-9\n' ' '; echo 0 0 0 0 0)
  echo "$cpu: $(tail -1 "$log"), exit $code"
  [ "$code" = 0 ] || { grep -A 6 '\[FAIL\]' "$log" || tail -40 "$log"; }
  bad=$((errors + fails))
  [ "$code" != 0 ] && [ "$bad" = 0 ] && bad=1
  passed=$((passed + total - errors - fails - skips - unrun)) failed=$((failed + bad)) skipped=$((skipped + skips))
done
rm -r "$logs"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
