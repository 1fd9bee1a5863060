#!/usr/bin/env bash
# From request to act: how long after "Turn on the kitchen light" a subscriber sees the light's topic change.
#   tests/soak/act-latency.sh GEMMA4EDGE [COUNT]     COUNT 100; needs mosquitto and mosquitto-clients
# A node with the demo model and its tools, a Mosquitto of its own that sends small messages at once (as deploy/mosquitto/mosquitto.conf says), the light on and off in turn.
# One connection sends and one listens, so that no client's start is measured.
set -euo pipefail
cd "$(dirname "$0")/../.."
program=$(realpath "${1:?usage: act-latency.sh GEMMA4EDGE [COUNT]}")
count=${2:-100}
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$work"' EXIT

printf 'listener %s 127.0.0.1\nallow_anonymous true\nuser root\nset_tcp_nodelay true\n' "$port" >"$work/mosquitto.conf"
"$(command -v mosquitto || echo /usr/sbin/mosquitto)" -c "$work/mosquitto.conf" 2>"$work/mosquitto.log" &
sleep 1
GEMMA4EDGE__Mqtt__Node=latency GEMMA4EDGE__Tools__Path=deploy/demo-model/tools GEMMA4EDGE__Tools__AllowTopics__0='home/#' GEMMA4EDGE__Sampling__Temperature=0 \
GEMMA4EDGE__Model__System='You are a home assistant. Areas: kitchen, living room, bedroom, bathroom, hallway, office, garage, garden.' \
  "$program" serve --model deploy/demo-model --broker "mqtt://127.0.0.1:$port" 2>"$work/serve.log" &
mosquitto_sub -p "$port" -t gemma4edge/latency/availability -C 1 -W 60 >/dev/null

python3 - "$port" "$count" <<'PY'
import subprocess, sys, time
port, count = sys.argv[1], int(sys.argv[2])
seen = subprocess.Popen(["mosquitto_sub", "-p", port, "-q", "1", "-t", "home/kitchen/light", "-t", "gemma4edge/latency/answer", "-v"], stdout=subprocess.PIPE, text=True, bufsize=1)
send = subprocess.Popen(["mosquitto_pub", "-p", port, "-q", "1", "-t", "gemma4edge/latency/prompt/set", "-l"], stdin=subprocess.PIPE, text=True, bufsize=1)
time.sleep(1)

def line(topic):
    while not (got := seen.stdout.readline().rstrip("\n")).startswith(topic + " "):
        pass
    return time.perf_counter(), got[len(topic) + 1:]

acts, answers = [], []
for i in range(count + 2):  # the first two warm up: the prompt's common part enters the cache
    word = "on" if i % 2 == 0 else "off"
    start = time.perf_counter()
    send.stdin.write(f"Turn {word} the kitchen light\n")
    send.stdin.flush()
    act, payload = line("home/kitchen/light")
    assert payload == '{"on":%s}' % ("true" if word == "on" else "false"), payload
    answer, _ = line("gemma4edge/latency/answer")
    if i >= 2:
        acts.append((act - start) * 1000)
        answers.append((answer - start) * 1000)
for name, values in (("act", sorted(acts)), ("answer", sorted(answers))):
    print(f"request to {name}: n {len(values)}  p50 {values[len(values) // 2]:.1f} ms  p95 {values[int(len(values) * 0.95)]:.1f} ms  max {values[-1]:.1f} ms")
seen.kill(); send.kill()
PY
