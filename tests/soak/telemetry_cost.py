#!/usr/bin/env python3
"""What telemetry costs: decode tokens/s of the demo model with and without it, in one run, in turn.

    tests/soak/telemetry_cost.py GEMMA4EDGE [--turns 6] [--requests 40]

Without: no HTTP port, one telemetry message in the whole run. With: a message each second, /metrics scraped each second.
Needs mosquitto_rr (Debian: mosquitto-clients). Prints both medians and their difference; run it on a quiet machine.
"""
import argparse
import json
import os
import socket
import statistics
import subprocess
import threading
import time
import urllib.request

PROMPTS = ["turn on the kitchen light and lock the front door", "set the bedroom to 21 degrees and close the blinds", "turn off all lights in the living room and the hallway"]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Node:
    """A service of its own, on its embedded broker."""

    def __init__(self, binary, with_telemetry):
        self.port, self.http = free_port(), free_port()
        settings = {
            "Mqtt__Node": "cost", "Mqtt__EmbeddedPort": self.port, "Sampling__Temperature": 0,
            "Telemetry__IntervalSeconds": 1 if with_telemetry else 86400, "Http__Enabled": with_telemetry, "Http__Listen": f"127.0.0.1:{self.http}",
        }
        environment = os.environ | {f"GEMMA4EDGE__{key}": str(value) for key, value in settings.items()}
        model = os.path.join(os.path.dirname(os.path.abspath(binary)), "demo-model")
        self.process = subprocess.Popen([binary, "serve", "--model", model, "--broker", "embedded"], env=environment, stderr=subprocess.DEVNULL)
        while self.ask("hello") is None:
            time.sleep(0.1)
        self.stopped = threading.Event()
        if with_telemetry:
            threading.Thread(target=self.scrape, daemon=True).start()

    def scrape(self):
        while not self.stopped.wait(1):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/metrics") as page:
                page.read()

    def ask(self, prompt):
        answer = subprocess.run(
            ["mosquitto_rr", "-V", "5", "-p", str(self.port), "-W", "20", "-t", "gemma4edge/cost/request", "-e", "gemma4edge/reply/cost", "-m", json.dumps({"prompt": prompt})],
            capture_output=True, check=False).stdout
        return json.loads(answer) if answer else None

    def decode_rate(self, requests):
        """Tokens after the first per second, over all requests."""
        tokens, seconds = 0, 0.0
        for number in range(requests):
            done = self.ask(PROMPTS[number % len(PROMPTS)])
            after_first = done["usage"]["output"] - 1
            tokens += after_first
            seconds += after_first / done["timings"]["decode_tps"]
        return tokens / seconds

    def stop(self):
        self.stopped.set()
        self.process.terminate()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--requests", type=int, default=40)
    arguments = parser.parse_args()
    nodes = {name: Node(arguments.binary, name == "with") for name in ("without", "with")}
    rates = {name: [] for name in nodes}
    for turn in range(arguments.turns):
        for name in (list(nodes) if turn % 2 == 0 else list(nodes)[::-1]):
            rates[name].append(nodes[name].decode_rate(arguments.requests))
            print(f"turn {turn + 1} {name:>7}: {rates[name][-1]:.1f} tokens/s", flush=True)
    for node in nodes.values():
        node.stop()
    without, with_telemetry = (statistics.median(rates[name]) for name in ("without", "with"))
    print(f"without {without:.1f}, with {with_telemetry:.1f} tokens/s: {100 * (1 - with_telemetry / without):+.2f} % (medians of {arguments.turns} turns)")


if __name__ == "__main__":
    main()
