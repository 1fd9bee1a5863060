#!/usr/bin/env python3
"""Runs gemma4edge bench and llama.cpp in turn and prints a table of medians and ratios.

    tests/soak/compare.py GEMMA4EDGE LLAMA_BENCH BACKENDS MODEL.gguf [--ours OUR.gguf]... [--turns 3] [bench options of both: --threads 2 --prefill 128,512 ...]

Both run MODEL.gguf; gemma4edge also runs each OUR.gguf, what `convert` makes of the same weights. LLAMA_BENCH and BACKENDS: see peer/README.md. A turn is one run of each program. A run during which other processes used more than a tenth of
a core is left out and counted: llama.cpp's spinning barriers lose most of their speed then, and so would the comparison its meaning.
"""
import json
import os
import resource
import statistics
import subprocess
import sys
import time


def busy_seconds():
    """CPU seconds of all processes since boot: user, nice, system, irq, softirq."""
    with open("/proc/stat") as stat:
        ticks = [int(word) for word in stat.readline().split()[1:]]
    return sum(ticks[i] for i in (0, 1, 2, 5, 6)) / os.sysconf("SC_CLK_TCK")


def child_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(command):
    """The program's JSON line and the cores that others used meanwhile."""
    start, busy, own = time.monotonic(), busy_seconds(), child_seconds()
    line = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    others = (busy_seconds() - busy - (child_seconds() - own)) / (time.monotonic() - start)
    return json.loads(line), others


def figures(result):
    rows = {f"prefill {p['tokens']}, tokens/s": p["tokens_per_second"] for p in result["prefill"]}
    rows |= {f"decode at {d['context']}, tokens/s": d["tokens_per_second"] for d in result["decode"]}
    rows |= {f"{name}, MiB": result[key] / 2**20
             for name, key in (("peak RSS", "peak_rss_bytes"), ("anonymous", "anonymous_bytes"), ("file-backed", "file_backed_bytes"))}
    return rows


def main():
    gemma4edge, llama_bench, backends, model, *options = sys.argv[1:]
    turns = 3
    if "--turns" in options:
        at = options.index("--turns")
        turns = int(options[at + 1])
        del options[at:at + 2]

    ours = [model]
    while "--ours" in options:
        at = options.index("--ours")
        ours.append(options[at + 1])
        del options[at:at + 2]

    programs = {
        **{os.path.basename(path): [gemma4edge, "bench", path, "--json", *options] for path in ours},
        "llama.cpp": [llama_bench, backends, model, "--mode", "default", *options],
        "llama.cpp lazy": [llama_bench, backends, model, "--mode", "lazy", *options],
    }
    seen = {name: [] for name in programs}
    for turn in range(turns):
        for name, command in programs.items():
            result, others = measure(command)
            quiet = others < 0.1
            print(f"turn {turn + 1}, {name}: others used {others:.2f} cores{'' if quiet else ', left out'}", file=sys.stderr)
            if quiet:
                seen[name].append(figures(result))

    if not all(seen.values()):
        sys.exit("compare.py: no quiet run of " + ", ".join(name for name, runs in seen.items() if not runs))
    print("| | " + " | ".join(f"{name} ({len(runs)} runs)" for name, runs in seen.items()) + " |")
    print("| --- |" + " ---: |" * len(seen))
    for row in seen["llama.cpp"][0]:
        values = {name: statistics.median(run[row] for run in runs) for name, runs in seen.items()}
        print(f"| {row} | " + " | ".join(f"{value:.1f} ({value / values['llama.cpp']:.2f})" for value in values.values()) + " |")
    print("\nIn brackets: the ratio to llama.cpp.")


main()
