#!/usr/bin/env bash
# Peak memory and time of a conversion: anonymous pages and pages of mapped files apart, sampled ten times a second, and the kernel's own peak.
# Ends with an error if the peak reaches 1.5 GB.
#
#   tests/soak/convert-memory.sh GEMMA4EDGE IN OUT [OPTIONS OF CONVERT]
set -euo pipefail

gemma4edge=${1:?usage: tests/soak/convert-memory.sh GEMMA4EDGE IN OUT [OPTIONS OF CONVERT]}
shift
log=$(mktemp)
trap 'rm -f "$log"' EXIT

start=$SECONDS
"$gemma4edge" convert "$@" > "$log" &
process=$!
anonymous=0 file=0 peak=0
while status=$(cat "/proc/$process/status" 2> /dev/null) && grep -q VmHWM <<< "$status"; do
    read -r hwm anon mapped < <(awk '/^(VmHWM|RssAnon|RssFile):/ { v[$1] = $2 } END { print v["VmHWM:"], v["RssAnon:"], v["RssFile:"] }' <<< "$status")
    peak=$hwm
    [ "$anon" -le "$anonymous" ] || anonymous=$anon
    [ "$mapped" -le "$file" ] || file=$mapped
    sleep 0.1
done
wait "$process"
tail -1 "$log"
echo "peak $((peak / 1000)) MB, anonymous at most $((anonymous / 1000)) MB, of mapped files at most $((file / 1000)) MB; $((SECONDS - start)) s"
[ "$peak" -lt 1500000 ]
