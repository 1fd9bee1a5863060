#!/usr/bin/env python3
"""How fast the TurboQuant loops of a published arm64 binary would run, by llvm-mca's models of the cores.

  deploy/publish.sh linux-arm64 && tests/mca/mca.py [--binary FILE] [--peer LIBRARY] [--show]

--binary   published program, its symbols beside it in FILE.dbg; artifacts/publish/linux-arm64/gemma4edge without it
--peer     a library with llama.cpp's ggml_gemv_q4_0_4x4_q8_0, measured too
--show     prints the instructions of every loop that is measured

Needs, on Debian: apt-get install llvm-22 binutils-aarch64-linux-gnu
What the figures mean stands in README.md beside this file.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

KERNELS = "Gemma4Edge_Kernels_Gemma4Edge_Kernels_"
PANEL_ROWS, STEP_COLUMNS, GROUP_COLUMNS = 16, 32, 128
SCALE_BYTES = 2 * PANEL_ROWS
ITERATIONS = 400
PROMPTS = (4, 16, 64)                  # tokens that share unpacked codes
FORMATS = {"TQ4": ("NeonCodes4", 4, 128), "TQ3": ("NeonCodes3", 3, 128), "TQ2": ("NeonCodes2", 2, 128), "LAT4-G32": ("NeonCodes4", 4, 32), "Q8": ("NeonCodes8", 8, 128)}
TARGETS = {"neon-dotprod": ("TurboQuantNeonDotProd", "neoverse-n1", "FourTokens", 4), "neon": ("TurboQuantNeon", "cortex-a72", "TwoTokens", 2)}
END = "end of the function"
BRANCH = re.compile(r"b(\.\w+)?|cbn?z|tbn?z")


def run(*command, text=None):
    try:
        return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        sys.exit(f"{command[0]} not found: apt-get install llvm-22 binutils-aarch64-linux-gnu")
    except subprocess.CalledProcessError as failure:
        sys.exit(f"{' '.join(command)}\n{failure.stderr}")


class Function:
    """The basic blocks of a function, and its loops, innermost first."""

    def __init__(self, binary, start, size):
        lines = run("aarch64-linux-gnu-objdump", "-d", "--no-show-raw-insn", f"--start-address={start}", f"--stop-address={start + size}", binary).splitlines()
        parsed = [re.match(r"\s+([0-9a-f]+):\s+(\S+)\s*([^<]*)", line) for line in lines]
        code = [(int(m[1], 16), m[2], re.sub(r"\s*//.*", "", m[3]).strip()) for m in parsed if m]
        place = {address: i for i, (address, _, _) in enumerate(code)}
        target = {i: place.get(int(args.split()[-1], 16)) for i, (_, name, args) in enumerate(code) if BRANCH.fullmatch(name)}
        starts = sorted({0} | {t for t in target.values() if t is not None} | {i + 1 for i in range(len(code) - 1) if i in target or code[i][1] == "ret"})
        self.blocks, self.next = {}, {}
        for first, end in zip(starts, starts[1:] + [len(code)]):
            self.blocks[first] = code[first:end]
            falls = {"ret": [END], "b": [], "brk": []}.get(code[end - 1][1], [end] if end < len(code) else [])
            self.next[first] = falls + [t for t in [target.get(end - 1)] if t is not None]
        self.loops = sorted(self._loops(), key=lambda loop: len(loop[1]))

    def _loops(self):
        """(header, blocks) of each natural loop: an edge back to a block that every path to its source goes through."""
        dominators = {block: set(self.blocks) for block in self.blocks}
        dominators[0] = {0}
        changed = True
        while changed:
            changed = False
            for block in self.blocks:
                before = [dominators[b] for b in self.blocks if block in self.next[b]]
                now = {block} | (set.intersection(*before) if before else set())
                if block and now != dominators[block]:
                    dominators[block], changed = now, True
        bodies = {}
        for source in self.blocks:
            for header in self.next[source]:
                if header in dominators[source]:
                    body, todo = bodies.setdefault(header, {header}), [source]
                    while todo:
                        block = todo.pop()
                        if block not in body:
                            body.add(block)
                            todo += [b for b in self.blocks if block in self.next[b]]
        return list(bodies.items())

    def step(self):
        """The loop over steps: the innermost that has most of the vector instructions."""
        inner = [loop for loop in self.loops if not any(other[1] < loop[1] for other in self.loops)]
        return max(inner, key=lambda loop: sum(len(re.findall(r"\bv\d", text(i))) > 0 for i in self.once(loop)))

    def around(self, loop):
        """The smallest loop around another."""
        return next(other for other in self.loops if loop[1] < other[1])

    def once(self, loop):
        """The instructions of one turn; of two ways the longer."""
        return self._longest(loop[0], {loop[0]}, loop[1])

    def turn(self, outer, inner, times):
        """The instructions of one turn of a loop with the inner loop taken a number of times."""
        outside = outer[1] - inner[1]
        before = self._longest(outer[0], {inner[0]}, outside - {outer[0]}) if outer[0] != inner[0] else []
        exits = [b for block in inner[1] for b in self.next[block] if b in outside]
        after = max((self._longest(b, {outer[0]}, outside) for b in exits), key=len)
        return before + self.once(inner) * times + after

    def whole(self, times):
        """The instructions of one call with its only loop taken a number of times."""
        (header, body), = self.loops
        before = self._longest(0, {header}, set(self.blocks) - body)
        exits = [b for block in body for b in self.next[block] if b not in body]
        return before + self.once((header, body)) * times + max((self._longest(b, {END}, set(self.blocks) - body) for b in exits), key=len)

    def _longest(self, block, ends, allowed):
        """The longest way from a block to the end of one that goes on to any of the ends."""
        best = None
        for following in self.next[block]:
            if following in ends:
                best = best or []
            elif following in allowed:
                way = self._longest(following, ends, allowed)
                if way is not None and (best is None or len(way) > len(best)):
                    best = way
        return None if best is None else self.blocks[block] + best


def text(instruction):
    _, name, args = instruction
    return name + " " + re.sub(r"(^|, )[0-9a-f]{3,}$", r"\1.", args)        # addresses of branches and constants


def cycles(instructions, cpu):
    report = run("llvm-mca-22", "-mtriple=aarch64", "-mattr=+dotprod,+fullfp16", f"-mcpu={cpu}", f"-iterations={ITERATIONS}", "-instruction-info=false",
                 text="\n".join(map(text, instructions)))
    return int(re.search(r"Total Cycles:\s+(\d+)", report)[1]) / ITERATIONS


def symbols(file, *options):
    fields = (line.split() for line in run("aarch64-linux-gnu-nm", "-S", "--defined-only", *options, file).splitlines())
    return {f[3]: (int(f[0], 16), int(f[1], 16)) for f in fields if len(f) == 4 and f[2] in "tTwW"}


def row(*cells):
    print("| " + " | ".join(f"{c:.2f}" if isinstance(c, float) else str(c) for c in cells) + " |")


def show(instructions, title, wanted):
    if wanted:
        print(f"\n{title}", *map(text, instructions), sep="\n    ")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=Path(__file__).resolve().parents[2] / "artifacts/publish/linux-arm64/gemma4edge", type=Path)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    names = symbols(str(options.binary) + ".dbg")

    def function(pattern):
        """The function whose name fits; the compiler keeps one of several with the same code, so the pattern may leave open whose."""
        found = [n for n in sorted(names) if re.fullmatch(KERNELS + pattern.replace("<", f"<.*{KERNELS}"), n)]
        return Function(str(options.binary), *names[found[0]]) if found else sys.exit(f"No function {pattern} in {options.binary}.dbg")

    prompts = []
    row("one token", "core", "instructions / group", "cycles / group", "bytes / group", "bytes / cycle", "weights / cycle", "bytes / cycle, codes alone")
    row(*["---"] * 8)
    for kernel, (type_name, cpu, tile, tile_tokens) in TARGETS.items():
        for name, (codes, bits, group) in FORMATS.items():
            matvec = function(f"{type_name}__MatVec<{codes}>")
            step = matvec.step()
            steps = group // STEP_COLUMNS
            turn = matvec.turn(matvec.around(step), step, steps)
            show(turn, f"{kernel} {name}", options.show)
            weights = PANEL_ROWS * group
            taken = cycles(turn, cpu)
            size = weights * bits // 8 + SCALE_BYTES
            codes_alone = weights * bits / 8 / (steps * cycles(matvec.once(step), cpu))
            row(f"{kernel} {name}", cpu, len(turn), taken, size, size / taken, weights / taken, codes_alone)

            unpack = function(f"NeonMatMul_2<{codes}__.*>__Unpack").whole(steps)
            levels = codes if (kernel, name) == ("neon", "Q8") else "NeonCodes."
            multiply = function(f"{type_name}_Tiles__{tile}<{levels}>").whole(steps)
            accumulate = function("NeonMatMul_2<.*>__Accumulate")
            show(multiply, f"{kernel} {name}, {tile}", options.show)
            fixed, each = cycles(unpack, cpu), cycles(multiply, cpu) / tile_tokens
            per_token = [(fixed + cycles(accumulate.whole(t), cpu)) / t + each for t in PROMPTS]
            prompts.append([f"{kernel} {name}", cpu, weights / taken] + [weights / c for c in per_token] + [taken / per_token[-1]])

    if options.peer:
        found = symbols(str(options.peer), "-D")
        gemv = Function(str(options.peer), *next(found[n] for n in found if n.startswith("ggml_gemv_q4_0_4x4_q8_0") and not n.endswith("generic")))
        turn = gemv.once(gemv.step())
        show(turn, "llama.cpp", options.show)
        for cpu in ("neoverse-n1", "cortex-a72"):
            taken = cycles(turn, cpu)
            row("llama.cpp Q4_0 4x4", cpu, len(turn), taken, 72, 72 / taken, 128 / taken, "")

    print()
    row("products / cycle", "core", "one token", *[f"{t} tokens" for t in PROMPTS], f"{PROMPTS[-1]} tokens : one by one")
    row(*["---"] * (len(PROMPTS) + 4))
    for cells in prompts:
        row(*cells)


if __name__ == "__main__":
    main()
