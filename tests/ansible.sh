#!/usr/bin/env bash
# Runs the playbook against a Debian that boots in namespaces of its own (tests/machine.sh): check mode, first install, a second run,
# changes, wrong configurations and bad binaries. The binary is the one of deploy/publish.sh linux-x64, the service's manager a real systemd.
# Needs root, ansible, ansible-lint and Debian's systemd. Closes on `N passed, N failed, N skipped`.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
. tests/machine.sh
work=$(mktemp -d)
passed=0 failed=0
trap 'machine_off; rm -rf "$work"' EXIT
export ANSIBLE_NOCOLOR=1 ANSIBLE_LOCAL_TEMP=$work/ansible ANSIBLE_HOME=$work/ansible ANSIBLE_RETRY_FILES_ENABLED=0 ANSIBLE_PIPELINING=1

# NAME COMMAND...: a check that holds or does not.
check() {
  local name=$1
  shift
  if "$@" >"$work/check" 2>&1; then
    passed=$((passed + 1)); echo "ok      $name"
  else
    failed=$((failed + 1)); echo "FAILED  $name"; tail -n 30 "$work/check"; tail -n 40 "$work/log"
  fi
}

# [ANSIBLE-OPTION...]: runs the playbook with the variables in $work/vars.json.
playbook() {
  machine ansible-playbook -i "$work/inventory.yml" -e "@$work/vars.json" --limit target "$@" ansible/site.yml >"$work/log" 2>&1
  local code=$?
  changed=$(grep -oE 'changed=[0-9]+' "$work/log" | tail -1)
  echo "        playbook $*: exit $code, $changed"
  return $code
}
variables() { printf '%s\n' "$1" >"$work/vars.json"; }
fails() { ! "$@"; }
says() { grep -qE "$1" "$work/log"; }
pid() { machine systemctl show --value -p MainPID gemma4edge; }
installed() { machine sha256sum /usr/local/bin/gemma4edge /etc/systemd/system/gemma4edge.service /etc/gemma4edge/conf.d/{10-gemma4edge,20-host}.json; }
leaves_no_copies() { [ -z "$(machine find /usr/local/bin /etc/gemma4edge /etc/systemd/system -name '*~')" ]; }
answers() { # NODE [OPTION...]
  machine gemma4edge send "turn on the kitchen light" --node "$1" "${@:2}" | grep -qx 'set_light(area: "kitchen", on: true)'
}

printf 'gemma4edge:\n  hosts:\n    away:\n      ansible_host: 192.0.2.1\n    target:\n      ansible_connection: local\n      ansible_become: false\n      ansible_python_interpreter: /usr/bin/python3\n' >"$work/inventory.yml"
kitchen='"gemma4edge_configuration":{"Mqtt":{"Node":"kitchen"},"Http":{"Enabled":true}}'
bath='"gemma4edge_configuration":{"Mqtt":{"Node":"bath"}}'
login="--user bath --password-file /etc/gemma4edge/mqtt.password"
published=artifacts/publish/linux-x64
# A published folder named $1 whose binary comes from stdin; $real is the one that works.
bad() {
  mkdir -p "$work/$1"
  cp $published/demo-model.tar "$work/$1/"
  cat >"$work/$1/gemma4edge"
  chmod 755 "$work/$1/gemma4edge"
}
real=/usr/local/lib/gemma4edge-works # in the machine, where its users can read
printf '#!/bin/sh\n[ $1 != serve ] && exec %s "$@"\necho "no luck today" >&2\nexit 1\n' $real | bad serves-not
printf '#!/bin/sh\n[ $1 != serve ] && exec %s "$@"\necho "no luck today" >&2\nexec sleep infinity\n' $real | bad hangs
(head -c 18 $published/gemma4edge; printf '\xff\xff'; tail -c +21 $published/gemma4edge) | bad wrong-machine # a processor that nobody emulates

check "ansible-lint, production profile" ansible-lint --offline --nocolor --profile production ansible
machine_boot || { echo "0 passed, 1 failed, 0 skipped"; exit 1; }
machine rm -rf /usr/local/bin/gemma4edge /etc/gemma4edge /usr/local/share/gemma4edge /etc/systemd/system/gemma4edge.service
machine install -m 755 $published/gemma4edge $real

variables "{$kitchen}"
check "check mode on a bare machine" playbook --check --diff
check "it changed nothing" machine sh -c '! ls /usr/local/bin/gemma4edge /etc/gemma4edge /etc/systemd/system/gemma4edge.service'
check "first run" playbook
first=$changed
check "the service answers over MQTT" answers kitchen
check "it says that it is ready" machine curl -sf http://127.0.0.1:8420/readyz
check "it starts at boot" machine systemctl is-enabled gemma4edge
check "second run" playbook
second=$changed
check "it changed nothing ($second)" [ "$second" = changed=0 ]

check "a machine that is away is a failure" fails playbook --limit all --check
check "and does not keep the others from their turn" says "^target +: ok=[1-9].*failed=0"

before=$(pid) files=$(installed)
echo "a CA, which the embedded broker does not ask for" >"$work/ca.crt"
variables "{$bath, \"gemma4edge_mqtt_password\":\"hunter2-not-to-be-seen\", \"gemma4edge_ca_file\":\"$work/ca.crt\"}"
check "check mode of a change" playbook --check
check "it says that something would change ($changed)" [ "$changed" != changed=0 ]
check "and changed nothing" [ "$before $files" = "$(pid) $(installed)" ]
check "a change, with a password" playbook -v --diff
check "the service restarted with it" answers bath $login
check "nobody answers without the password" fails answers bath
check "it is nowhere in the output" fails says hunter2
check "only root reads it" [ "$(machine stat -c '%a %U' /etc/gemma4edge/mqtt.password)" = "400 root" ]
check "the CA is where the configuration has it" machine sh -c "grep -q '\"CaFile\": \"/etc/gemma4edge/ca.crt\"' /etc/gemma4edge/conf.d/20-host.json && cmp $work/ca.crt /etc/gemma4edge/ca.crt"
check "no copies are left" leaves_no_copies

before=$(pid) files=$(installed)
unchanged() { [ "$before $files" = "$(pid) $(installed)" ] && answers bath $login && leaves_no_copies; }
variables '{"gemma4edge_configuration":{"Mqtt":{"Node":"fleet"}}}'
check "a wrong configuration fails" fails playbook
check "and says why" says "Mqtt:Node .from /etc/gemma4edge/conf.d/20-host.json. is 'fleet'; allowed is"
check "the service never stopped" unchanged
variables "{$kitchen, \"gemma4edge_published\":\"$work/wrong-machine\"}"
check "a binary for another machine fails" fails playbook
check "and says why" says "Exec format error"
check "the service never stopped" unchanged

rolled_back() { [ "$files" = "$(installed)" ] && [ "$before" != "$(pid)" ] && answers bath $login && leaves_no_copies; }
for binary in serves-not hangs; do
  variables "{$kitchen, \"gemma4edge_published\":\"$work/$binary\", \"gemma4edge_start_timeout\":20}"
  check "a binary that is fine and $binary fails" fails playbook
  check "and says what was done" says "target runs what it ran before"
  check "and what the service said" says "no luck today"
  check "binary and configuration are rolled back, the service answers" rolled_back
  before=$(pid)
done

echo "first run $first, second run $second; $SECONDS s"
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
