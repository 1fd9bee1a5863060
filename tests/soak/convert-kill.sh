#!/usr/bin/env bash
# Kills convert at random moments: the file it would replace stays whole, and the next run clears up what was left.
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

killed=0
for _ in $(seq "$kills"); do
    "$gemma4edge" convert "$model" "$folder/model.gguf" > /dev/null 2>&1 &
    sleep "$(awk -v most="$milliseconds" -v random="$RANDOM" 'BEGIN { print most * random / 32768 / 1000 }')"
    kill -KILL $! 2> /dev/null || true
    wait $! 2> /dev/null || killed=$((killed + 1))
    "$gemma4edge" inspect "$folder/model.gguf" --verify > /dev/null 2>&1
    [ "$(sha256sum < "$folder/model.gguf")" = "$whole" ]
done

"$gemma4edge" convert "$model" "$folder/model.gguf" > /dev/null
[ ! -e "$folder/model.gguf.partial" ]
echo "$killed of $kills runs killed; the model stayed whole."
