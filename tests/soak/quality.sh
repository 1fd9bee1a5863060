#!/usr/bin/env bash
# What each format costs in quality on the demo model: exact answers, perplexity, and the KL divergence from the exact model.
#
#   tests/soak/quality.sh GEMMA4EDGE [MODEL]
#
# GEMMA4EDGE is the program (deploy/publish.sh makes it, and a build leaves one in artifacts/bin/Gemma4Edge.Cli/release), MODEL a folder with
# an eval-dev.jsonl; default deploy/demo-model. Takes a few minutes. KL in 1e-6 nats per token, over the tokens of the right answers (mean
# and 99th percentile) and over a text: the dialogues of the same file, which the model meets there without its prompt format.
# The last table is in quality.md.
set -euo pipefail

gemma4edge=${1:?usage: tests/soak/quality.sh GEMMA4EDGE [MODEL]}
reference=${2:-deploy/demo-model}
items=$reference/eval-dev.jsonl
text=$(mktemp)
models=$(mktemp -d)
trap 'rm -rf "$text" "$models"' EXIT

python3 - "$items" > "$text" <<'PY'
import json, sys
for line in open(sys.argv[1], encoding="utf-8"):
    item = json.loads(line)
    dialogue = [message["content"] for message in item["messages"] if message["role"] == "user"]
    if item["expected"]["kind"] == "reply":
        dialogue.append(item["expected"]["text"])
    print("\n".join(dialogue))
PY

header() { # TITLE
    echo
    echo "| $1 | exact % | calls % | KL | KL p99 | same best % | perplexity | KL, text | KL p99, text |"
    echo "|---|---|---|---|---|---|---|---|---|"
}

row() { # NAME MODEL [OPTIONS...]
    local name=$1 model=$2
    shift 2
    python3 - "$name" \
        "$("$gemma4edge" eval "$model" "$items" --reference "$reference" --json "$@")" \
        "$("$gemma4edge" perplexity "$model" "$text" --reference "$reference" --json "$@")" <<'PY'
import json, sys
name, answers, text = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
kl = lambda result: f"{1e6 * result['kl_mean']:.1f} | {1e6 * result['kl_p99']:.1f}"
print(f"| {name} | {answers['exact_percent']:.1f} | {answers['calls_percent']:.1f} | {kl(answers)} | {answers['top1_agreement_percent']:.2f} | {text['perplexity']:.4f} | {kl(text)} |", flush=True)
PY
}

# Weights, with exact keys and values, as users run them; then the same weights with exact activations: what rounding those to 8 bits adds.
header "weights"
for weights in bf16 q8_0 q4_0 q8 tq4 tq3 tq2 polar4 prod4; do
    "$gemma4edge" convert "$reference" "$models/$weights.gguf" --weights "$weights" > "$models/$weights.txt"
    row "$weights, $(tail -1 "$models/$weights.txt" | grep -o '[0-9.]* MB read')" "$models/$weights.gguf" --kv f32
done
for weights in q8_0 q4_0 q8 tq4 tq3 tq2; do
    row "$weights, float activations" "$models/$weights.gguf" --kv f32 --activations float
done
for weights in tq4 tq3 tq2; do # tuned for the text the model is then judged by: the most that calibration can give
    "$gemma4edge" convert "$reference" "$models/tuned.gguf" --weights "$weights" --calibration "$items" > /dev/null
    row "$weights, calibrated" "$models/tuned.gguf" --kv f32
done

header "keys and values"
for kv in f32 f16 kv8 k8v4 k4v4 polar4 prod4; do
    row "$kv" "$reference" --kv "$kv"
done

# The demo model's layers 0 to 3 own keys and values, 3 is its only full one. Polar4 and prod4 hold every layer, so tq4 must too to be compared
# with them; what the ends at 8 bits gain in k4v4; and what is gained by leaving the donors, which feed the last four layers, at f16.
row "tq4 in every layer" "$reference" --kv-layer 0=tq4 --kv-layer 1=tq4 --kv-layer 2=tq4 --kv-layer 3=tq4
row "k4v4 without ends" "$reference" --kv kv8 --kv-layer 3=tq4
row "k8v4, donors f16" "$reference" --kv k8v4 --kv-layer 2=f16 --kv-layer 3=f16
