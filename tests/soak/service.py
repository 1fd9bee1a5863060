#!/usr/bin/python3
"""Measures the published service from outside, on a Mosquitto of its own.

    tests/soak/service.py soak BINARY [--minutes 30] [--clients 3]      requests, errors, memory at start and end, p50 and p95 of the first token
    tests/soak/service.py overhead BINARY [--requests 100]              a round trip over MQTT against the same prompt through `run`
    tests/soak/service.py journal BINARY [--requests 100] [--state DIR] the same round trips with a state directory and without, in turn
    tests/soak/service.py restart BINARY [--model MODEL]                first token with nothing kept, in a new conversation, and after SIGKILL

Needs mosquitto and python3-paho-mqtt. Prints a Markdown row for each figure; exits 1 if a request was lost.
"""
import argparse
import contextlib
import json
import os
import queue
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid

import paho.mqtt.client as mqtt

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.join(ROOT, "deploy/demo-model")
NODE = "soak"
PROMPTS = ["turn on the kitchen light", "lock the front door", "what is the temperature in the bedroom", "turn off the hallway light and lock the back door",
           "set the living room thermostat to 21 degrees", "good night"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def status(pid, key):
    with open(f"/proc/{pid}/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))


@contextlib.contextmanager
def mosquitto():
    port = free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
        conf.write(f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nuser root\n")
        conf.flush()
        process = subprocess.Popen(["/usr/sbin/mosquitto", "-c", conf.name], stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda: socket.create_connection(("127.0.0.1", port), 1).close() or True)
            yield port
        finally:
            process.terminate()
            process.wait()


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if condition():
                return
        if time.monotonic() > end:
            sys.exit("service.py: it did not come up")
        time.sleep(0.05)


@contextlib.contextmanager
def node(binary, port, state=None, extra=None, model=MODEL):
    environment = dict(os.environ, GEMMA4EDGE__Mqtt__Node=NODE, GEMMA4EDGE__Sampling__Temperature="0", GEMMA4EDGE__Tools__Path=os.path.join(MODEL, "tools"),
                       GEMMA4EDGE__Model__System=json.load(open(os.path.join(MODEL, "home.json")))["system"], **(extra or {}))
    environment.pop("STATE_DIRECTORY", None)
    if state:
        environment["GEMMA4EDGE__Store__State"] = state
    process = subprocess.Popen([binary, "serve", "--model", model, "--broker", f"mqtt://127.0.0.1:{port}"], env=environment, stderr=subprocess.DEVNULL)
    try:
        client = Client(port)
        client.wait_online()
        client.close()
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


class Client:
    """One sender: a request at a time, its events collected."""

    def __init__(self, port):
        self.name = f"client-{uuid.uuid4().hex[:8]}"
        self.events = queue.Queue()
        self.online = threading.Event()
        self.mqtt = mqtt.Client(client_id=self.name)
        self.mqtt.on_message = self.on_message
        self.mqtt.connect("127.0.0.1", port)
        self.mqtt.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.mqtt.subscribe([(f"gemma4edge/reply/{self.name}", 1), (f"gemma4edge/{NODE}/availability", 1)])
        self.mqtt.loop_start()

    def on_message(self, _, __, message):
        if message.topic.endswith("/availability"):
            if message.payload == b"online":
                self.online.set()
        else:
            self.events.put((time.perf_counter(), json.loads(message.payload)))

    def wait_online(self):
        if not self.online.wait(60):
            sys.exit("service.py: the node did not come online")

    def ask(self, prompt, **fields):
        """Seconds from publishing to the final event, and that event; None = nothing came within a minute."""
        request = {"id": uuid.uuid4().hex, "prompt": prompt, "execute": False, "reply_to": f"gemma4edge/reply/{self.name}", **fields}
        start = time.perf_counter()
        self.mqtt.publish(f"gemma4edge/{NODE}/request", json.dumps(request), qos=1)
        while True:
            try:
                at, event = self.events.get(timeout=60)
            except queue.Empty:
                return None, None
            if event["id"] == request["id"] and event["type"] in ("done", "error"):
                return at - start, event

    def close(self):
        self.mqtt.disconnect()
        self.mqtt.loop_stop()


def soak(arguments):
    done, errors, lost, ttft = [], {}, [], []
    with mosquitto() as port, tempfile.TemporaryDirectory() as state, node(arguments.binary, port, state) as process:
        warm = Client(port)
        for prompt in PROMPTS:
            warm.ask(prompt)
        memory = [(status(process.pid, "RssAnon"), status(process.pid, "VmRSS"))]
        end = time.monotonic() + 60 * arguments.minutes

        def work(seed):
            client, chance = Client(port), random.Random(seed)
            while time.monotonic() < end:
                fields = {"stream": chance.random() < 0.5}
                if chance.random() < 0.3:
                    fields["session"] = f"s{chance.randrange(12)}"
                seconds, event = client.ask(chance.choice(PROMPTS), **fields)
                if event is None:
                    lost.append(seed)
                elif event["type"] == "error":
                    errors[event["error"]["code"]] = errors.get(event["error"]["code"], 0) + 1
                    if event["error"]["code"] == "context_overflow":  # a conversation that goes on for ever ends so: begin another
                        client.mqtt.publish(f"gemma4edge/{NODE}/session/clear", json.dumps({"session": fields["session"]}), qos=1)
                else:
                    done.append(seconds)
                    ttft.append(event["timings"]["ttft_ms"])
            client.close()

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(arguments.clients)]
        [thread.start() for thread in threads]
        while any(thread.is_alive() for thread in threads):
            time.sleep(5)
            memory.append((status(process.pid, "RssAnon"), status(process.pid, "VmRSS")))
        journal = os.path.getsize(os.path.join(state, "requests.journal"))
        warm.close()
    third = memory[len(memory) // 3]
    print(f"| {arguments.clients} clients, {arguments.minutes} min: requests answered, errors, lost | {len(done)}, {errors or 0}, {len(lost)} |")
    print(f"| anonymous memory at start, after a third, at the end, most | {memory[0][0] / 1e6:.1f}, {third[0] / 1e6:.1f}, {memory[-1][0] / 1e6:.1f}, {max(m[0] for m in memory) / 1e6:.1f} MB |")
    print(f"| RSS at start, at the end | {memory[0][1] / 1e6:.1f}, {memory[-1][1] / 1e6:.1f} MB |")
    print(f"| first token, node's own: p50, p95, most | {percentile(ttft, .5):.1f}, {percentile(ttft, .95):.1f}, {max(ttft):.1f} ms |")
    print(f"| whole request as its sender sees it: p50, p95 | {1000 * percentile(done, .5):.1f}, {1000 * percentile(done, .95):.1f} ms |")
    print(f"| journal at the end | {journal / 1e6:.2f} MB |")
    return 1 if lost else 0


def overhead(arguments):
    prompt = PROMPTS[0]
    system = json.load(open(os.path.join(MODEL, "home.json")))["system"]
    runs = []
    for _ in range(min(20, arguments.requests)):
        answer = subprocess.run([arguments.binary, "run", MODEL, prompt, "--system", system, "--temperature", "0", "--json"], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        runs.append(json.loads(answer.stdout)["timings"]["total_ms"])
    with mosquitto() as port, node(arguments.binary, port):
        client = Client(port)
        cold, warm = [], []
        for i in range(arguments.requests):
            # another system text: nothing of the prompt is cached but its first tokens, as in a process that has just started
            seconds, event = client.ask(prompt, system=f"{i} {system}", tools=[])
            cold.append((1000 * seconds, event["timings"]["total_ms"]))
            client.ask(prompt, system=system, tools=[])
            seconds, event = client.ask(prompt, system=system, tools=[])
            warm.append((1000 * seconds, event["timings"]["total_ms"]))
        client.close()
    print(f"| the same prompt through `run`: the answer alone (no start, no load), median | {statistics.median(runs):.1f} ms |")
    for name, rows in (("nothing cached", cold), ("prefix cached", warm)):
        wall, total = [w for w, _ in rows], [t for _, t in rows]
        print(f"| over MQTT, {name}: round trip, median; of it the node's work; overhead, median and p95 | {statistics.median(wall):.1f}; {statistics.median(total):.1f}; "
              f"{statistics.median(w - t for w, t in rows):.2f}, {percentile([w - t for w, t in rows], .95):.2f} ms |")
    return 0


def journal(arguments):
    figures = {True: [], False: []}
    with mosquitto() as port, tempfile.TemporaryDirectory(dir=arguments.state) as state:
        for turn in range(6):
            kept = turn % 2 == 0
            with node(arguments.binary, port, state if kept else None):
                client = Client(port)
                client.ask(PROMPTS[0])
                for _ in range(arguments.requests // 3):
                    figures[kept].append(1000 * client.ask(PROMPTS[0])[0])
                client.close()
        flushes = []
        for i in range(arguments.requests):
            with open(os.path.join(state, "flush"), "ab", buffering=0) as file:
                file.write(b"x" * 500)
                start = time.perf_counter()
                os.fsync(file.fileno())
                flushes.append(1000 * (time.perf_counter() - start))
    print(f"| round trip with a journal, without: median | {statistics.median(figures[True]):.2f}, {statistics.median(figures[False]):.2f} ms |")
    print(f"| of p95 | {percentile(figures[True], .95):.2f}, {percentile(figures[False], .95):.2f} ms |")
    print(f"| one write of 500 bytes and fsync on that disk: median, p95 | {statistics.median(flushes):.2f}, {percentile(flushes, .95):.2f} ms |")
    return 0


def restart(arguments):
    for kept in ("4", "0"):
        with mosquitto() as port, tempfile.TemporaryDirectory() as state:
            row = []
            for life in range(2):
                with node(arguments.binary, port, state, {"GEMMA4EDGE__Store__Prefixes": kept}, arguments.model) as process:
                    client = Client(port)
                    for session in ("one", "another")[:2 - life]:
                        _, final = client.ask("turn on the kitchen light", session=session, max_tokens=8, deadline_ms=600_000)
                        if final is None or final["type"] != "done":
                            sys.exit(f"service.py: no answer: {final}")
                        row.append(f"{final['timings']['ttft_ms']:.0f} ms ({final['usage']['cached']} of {final['usage']['input']} tokens cached)")
                        time.sleep(1)  # it is written when the answer is out
                    client.close()
                    process.kill()
                    process.wait()
            print(f"| `Store:Prefixes` {kept}: first token of the first conversation, of a new one, of the first after SIGKILL | {', '.join(row)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["soak", "overhead", "journal", "restart"])
    parser.add_argument("binary")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--state", default=None)
    parser.add_argument("--model", default=MODEL)
    arguments = parser.parse_args()
    arguments.binary = os.path.abspath(arguments.binary)
    print("| figure | |\n|---|---|")
    sys.exit({"soak": soak, "overhead": overhead, "journal": journal, "restart": restart}[arguments.what](arguments))


if __name__ == "__main__":
    main()
