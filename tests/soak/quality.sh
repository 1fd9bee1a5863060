#!/usr/bin/env bash
# What each format costs in quality on the demo model: exact answers, perplexity, and the KL divergence from the exact model.
#
#   tests/soak/quality.sh GEMMA4EDGE [MODEL [PARTS]]
#
# GEMMA4EDGE is the program (deploy/publish.sh makes it, and a build leaves one in artifacts/bin/Gemma4Edge.Cli/release), MODEL a folder with
# an eval-dev.jsonl; default deploy/demo-model. PARTS of "weights calibrated kv"; default all, some ten minutes on an idle machine.
# Calibration reads the odd lines of that file, every row is judged on the even ones; "in-sample" is calibrated on what it is judged by.
# KL in 1e-6 nats per token, over the tokens of the right answers (mean and 99th percentile) and over a text: the dialogues of the same lines,
# which the model meets there without its prompt format. The last tables are in quality.md.
set -euo pipefail

gemma4edge=${1:?usage: tests/soak/quality.sh GEMMA4EDGE [MODEL [PARTS]]}
reference=${2:-deploy/demo-model}
parts=${3:-weights calibrated kv}
models=$(mktemp -d)
trap 'rm -rf "$models"' EXIT
items=$models/judged.jsonl
others=$models/others.jsonl
text=$models/text.txt
awk 'NR % 2 == 0' "$reference/eval-dev.jsonl" > "$items"
awk 'NR % 2 == 1' "$reference/eval-dev.jsonl" > "$others"

python3 - "$items" > "$text" <<'PY'
import json, sys
for line in open(sys.argv[1], encoding="utf-8"):
    item = json.loads(line)
    dialogue = [message["content"] for message in item["messages"] if message["role"] == "user"]
    if item["expected"]["kind"] == "reply":
        dialogue.append(item["expected"]["text"])
    print("\n".join(dialogue))
PY

has() { # PART
    [[ " $parts " == *" $1 "* ]]
}

header() { # TITLE
    echo
    echo "| $1 | exact % | calls % | KL | KL p99 | same best % | perplexity | KL, text | KL p99, text |"
    echo "|---|---|---|---|---|---|---|---|---|"
}

row() { # NAME MODEL [OPTIONS...]
    local name=$1 model=$2
    shift 2
    python3 - "$name" \
        "$("$gemma4edge" eval "$model" "$items" --limit "${limit:-0}" --reference "$reference" --head full --json "$@" 2> /dev/null)" \
        "$("$gemma4edge" perplexity "$model" "$text" --reference "$reference" --head full --json "$@" 2> /dev/null)" <<'PY'
import json, sys
name, answers, text = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
kl = lambda result: f"{1e6 * result['kl_mean']:.1f} | {1e6 * result['kl_p99']:.1f}"
print(f"| {name} | {answers['exact_percent']:.1f} | {answers['calls_percent']:.1f} | {kl(answers)} | {answers['top1_agreement_percent']:.2f} | {text['perplexity']:.4f} | {kl(text)} |", flush=True)
PY
}

# The numbers behind a model's name: bits per weight of all matrices, and bytes per decoded token.
convert() { # OUT [OPTIONS...]
    local out=$1
    shift
    "$gemma4edge" convert "$reference" "$out" --json "$@" 2> /dev/null | python3 -c '
import json, sys
made = json.load(sys.stdin)
matrices = [tensor for tensor in made["tensors"] if tensor["format"] != "f32"]
weights = sum(8 * tensor["bytes"] / tensor["bits"] for tensor in matrices)
bits = 8 * sum(tensor["bytes"] for tensor in matrices) / weights
print("%.2f bits, %.2f MB" % (bits, made["bytes_per_token"] / 1e6))'
}

# Weights, with exact keys and values and every logit, otherwise as users run them; then the same weights with exact activations: what rounding
# those to 8 bits adds.
if has weights; then
    header "weights"
    for weights in bf16 q8_0 q4_0 q8 tq4 tq3 tq2; do
        size=$(convert "$models/$weights.gguf" --weights "$weights")
        row "$weights, $size" "$models/$weights.gguf" --kv f32
    done
    for weights in polar4 prod4; do # rows are decoded for every product: slow, so fewer items
        size=$(convert "$models/slow.gguf" --weights "$weights")
        limit=50 row "$weights, $size, 50 items" "$models/slow.gguf" --kv f32
    done
    limit=50 row "tq4, the same 50 items" "$models/tq4.gguf" --kv f32
    for weights in q8_0 q4_0 q8 tq4 tq3 tq2; do
        row "$weights, float activations" "$models/$weights.gguf" --kv f32 --activations float
    done
fi

if has calibrated; then
    header "calibrated weights"
    for weights in tq4 tq3 tq2; do
        convert "$models/tuned.gguf" --weights "$weights" --calibration "$others" > /dev/null
        row "$weights, calibrated" "$models/tuned.gguf" --kv f32
    done
    for weights in tq4 tq3 tq2; do
        convert "$models/tuned.gguf" --weights "$weights" --calibration "$items" > /dev/null
        row "$weights, calibrated in-sample" "$models/tuned.gguf" --kv f32
    done
fi

if has kv; then
    header "keys and values"
    for kv in f32 f16 kv8 k8v4 k4v4 polar4 prod4; do
        row "$kv" "$reference" --kv "$kv"
    done

    # The demo model's layers 0 to 3 own keys and values, 3 is its only full one. Polar4 and prod4 hold every layer, so tq4 must too to be
    # compared with them; what the ends at 8 bits gain in k4v4; and what is gained by leaving the donors, which feed the last four layers, at f16.
    row "tq4 in every layer" "$reference" --kv-layer 0=tq4 --kv-layer 1=tq4 --kv-layer 2=tq4 --kv-layer 3=tq4
    row "k4v4 without ends" "$reference" --kv kv8 --kv-layer 3=tq4
    row "k8v4, donors f16" "$reference" --kv k8v4 --kv-layer 2=f16 --kv-layer 3=f16
fi
