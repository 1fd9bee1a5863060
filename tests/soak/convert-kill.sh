#!/usr/bin/env bash
# Kills convert at random moments, every third time when the last byte of the unfinished file is there (it is then flushed and renamed): the file it
# would replace stays whole, and the next run clears up what was left.
#
#   tests/soak/convert-kill.sh GEMMA4EDGE [MODEL] [KILLS]
set -euo pipefail

gemma4edge=${1:?usage: tests/soak/convert-kill.sh GEMMA4EDGE [MODEL] [KILLS]}
model=${2:-deploy/demo-model}
kills=${3:-10}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

start=$(date +%s%N)
"$gemma4edge" convert "$model" "$folder/model.gguf" > /dev/null
milliseconds=$((($(date +%s%N) - start) / 1000000))
whole=$(sha256sum < "$folder/model.gguf")
bytes=$(stat -c %s "$folder/model.gguf")

killed=0
for kill in $(seq "$kills"); do
    "$gemma4edge" convert "$model" "$folder/model.gguf" > /dev/null 2>&1 &
    if [ $((kill % 3)) = 0 ]; then
        until [ "$(stat -c %s "$folder/model.gguf.partial" 2> /dev/null)" = "$bytes" ] || grep -qs '^State:.Z' /proc/$!/status; do :; done
    else
        sleep "$(awk -v most="$milliseconds" -v random="$RANDOM" 'BEGIN { print most * random / 32768 / 1000 }')"
    fi
    kill -KILL $! 2> /dev/null || true
    wait $! 2> /dev/null || killed=$((killed + 1))
    "$gemma4edge" inspect "$folder/model.gguf" --verify > /dev/null 2>&1
    [ "$(sha256sum < "$folder/model.gguf")" = "$whole" ]
done

"$gemma4edge" convert "$model" "$folder/model.gguf" > /dev/null
[ ! -e "$folder/model.gguf.partial" ]
echo "$killed of $kills runs killed; the model stayed whole."
