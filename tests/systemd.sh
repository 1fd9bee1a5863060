#!/usr/bin/env bash
# Holds systemd/gemma4edge.service to what it promises, under the real systemd of a Debian that boots in namespaces of its own
# (tests/machine.sh): its score, ready, status, watchdog, reload, credential, restart. Installed by install.sh from the published folder.
# Needs root, mosquitto, curl and Debian's systemd. Closes on `N passed, N failed, N skipped`.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
. tests/machine.sh
published=$PWD/artifacts/publish/linux-x64
work=$(mktemp -d)
passed=0 failed=0
trap 'machine_off; rm -rf "$work"' EXIT

# NAME COMMAND...: a check that holds or does not.
check() {
  local name=$1
  shift
  if "$@" >"$work/check" 2>&1; then
    passed=$((passed + 1)); echo "ok      $name"
  else
    failed=$((failed + 1)); echo "FAILED  $name"; tail -n 30 "$work/check"
    [ -z "${machine_pid:-}" ] || machine journalctl --no-pager -u gemma4edge -n 10
  fi
}

fails() { ! "$@"; }
# SECONDS COMMAND...: the command holds at some time within them.
within() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do [ $SECONDS -lt $end ] || return 1; sleep 0.2; done
}
unit() { machine systemctl show --value -p "$1" gemma4edge; }
is() { [ "$(unit "$1")" = "$2" ]; }
logged() { machine journalctl --no-pager -u gemma4edge | grep -q -- "$1"; }
answers() { machine gemma4edge send "turn on the kitchen light" "$@" | grep -qx 'set_light(area: "kitchen", on: true)'; }
configure() { printf '%s\n' "$1" | machine tee /etc/gemma4edge/conf.d/20-test.json >"$work/configuration"; }
drop_in() { machine mkdir -p /etc/systemd/system/gemma4edge.service.d; machine tee /etc/systemd/system/gemma4edge.service.d/test.conf; machine systemctl daemon-reload; }
telemetry() { machine mosquitto_sub -t 'gemma4edge/+/telemetry' -C 1 -W 30; }
score() { systemd-analyze security --offline=yes systemd/gemma4edge.service | tail -1 | grep -oE '[0-9]+\.[0-9]+'; }

check "exposure $(score) is at most 1.2" systemd-analyze security --offline=yes --threshold=12 systemd/gemma4edge.service

machine_boot || { echo "$passed passed, $((failed + 1)) failed, 0 skipped"; exit 1; }
machine rm -rf /usr/local/bin/gemma4edge /etc/gemma4edge /usr/local/share/gemma4edge /etc/systemd/system/gemma4edge.service
check "install.sh installs" machine "$published/install.sh"
check "the unit is well formed" machine systemd-analyze verify /etc/systemd/system/gemma4edge.service
configure '{ "Mqtt": { "Node": "mine" }, "Http": { "Enabled": true } }'
check "install.sh again keeps the configuration" machine "$published/install.sh"
check "it starts, with no password" machine systemctl start gemma4edge
check "it tells its status" within 30 is StatusText "online, idle"
check "it answers" answers --node mine
check "it is ready" machine curl -sf http://127.0.0.1:8420/readyz
telemetry >"$work/telemetry"
for key in rss_anonymous_bytes rss_file_bytes pss_bytes weights_resident_bytes available_bytes major_faults load1; do
  check "$key can be read from inside" grep -q "\"$key\":" "$work/telemetry"
done

pid=$(unit MainPID)
configure '{ "Mqtt": { "Node": "mine", "EmbeddedPort": 1899 }, "Sampling": { "MaxTokens": 77 } }'
check "reload" machine systemctl reload gemma4edge
check "what can change, changes" within 30 logged "Sampling:MaxTokens is now 77 (/etc/gemma4edge/conf.d/20-test.json)"
check "what cannot, is named" logged "Mqtt:EmbeddedPort is 1899 in the configuration (/etc/gemma4edge/conf.d/20-test.json) and needs a restart"
configure '{ "Mqtt": { "Node": "fleet" } }'
check "reload of a wrong configuration" machine systemctl reload gemma4edge
check "leaves the old one in force" within 30 logged "the old one stays in force: Mqtt:Node"
check "in the same process" is MainPID "$pid"
check "which still answers" answers --node mine

configure '{ "Mqtt": { "Node": "mine" } }'
machine kill -KILL "$pid"
check "killed, it is started again" within 30 eval 'is SubState running && ! is MainPID '"$pid"
check "and answers" answers --node mine

printf '[Service]\nWatchdogSec=6\n' | drop_in >"$work/drop-in"
machine systemctl restart gemma4edge
pid=$(unit MainPID)
sleep 13 # more than two timeouts
check "the watchdog is content with an idle service" is MainPID "$pid"
machine kill -STOP "$pid"
check "the watchdog ends a process that stands still" within 30 logged "Watchdog timeout"
check "and starts another" within 60 eval 'is SubState running && ! is MainPID '"$pid"

machine systemctl stop gemma4edge
configure '{ "Mqtt": { "Node": "fleet" } }'
check "a wrong configuration does not start" fails machine systemctl start gemma4edge
check "and is an error in the journal" within 30 eval 'machine journalctl --no-pager -u gemma4edge -p err -o cat | grep -q "^gemma4edge: Mqtt:Node"'
check "and is not tried again" eval 'is ActiveState failed && is ExecMainStatus 2 && is NRestarts 0'

# A broker with passwords, which comes up after the service.
mosquitto_passwd -b -c "$work/passwords" mine 'open sesame'
printf 'listener 1884 127.0.0.1\nallow_anonymous false\npassword_file %s/passwords\nuser root\n' "$work" >"$work/mosquitto.conf"
chmod -R go+rX "$work"
printf 'open sesame\n' | machine install -m 400 /dev/stdin /etc/gemma4edge/mqtt.password
configure '{ "Mqtt": { "Node": "mine", "Broker": "mqtt://127.0.0.1:1884" } }'
machine systemctl start --no-block gemma4edge
check "without its broker it tries again" within 30 eval '! is NRestarts 0'
check "and is not ready" fails is ActiveState active
machine systemd-run --quiet --unit mosquitto-test mosquitto -c "$work/mosquitto.conf"
check "when the broker comes, it goes online with the credential" within 30 is StatusText "online, idle"
check "it answers there" answers --node mine --broker mqtt://127.0.0.1:1884 --user mine --password-file /etc/gemma4edge/mqtt.password
machine systemctl stop mosquitto-test
check "a broker that is lost is no failure" within 30 is StatusText "idle; connecting to mqtt://127.0.0.1:1884"

mkdir "$work/foreign"
cp "$published/install.sh" "$work/foreign/"
(head -c 18 "$published/gemma4edge"; printf '\xff\xff'; tail -c +21 "$published/gemma4edge") >"$work/foreign/gemma4edge" # a processor that nobody has
chmod 755 "$work/foreign/gemma4edge"
check "install.sh refuses a binary for another machine" fails machine "$work/foreign/install.sh"
check "and leaves the one that is there" machine gemma4edge version
check "install.sh --uninstall" machine "$published/install.sh" --uninstall
check "nothing runs, nothing is left but the configuration" machine sh -c '! systemctl cat gemma4edge && [ ! -e /usr/local/bin/gemma4edge ] && [ -e /etc/gemma4edge/conf.d/20-test.json ]'

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
