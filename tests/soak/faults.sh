#!/usr/bin/env bash
# The fault tests with their full counts; every ordinary test run has their short forms. About 20 minutes. Last result: service.md.
#   tests/soak/faults.sh
# Needs Mosquitto, and root for the network namespace and the small file system.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
dotnet build tests/Gemma4Edge.Tests -c Release -v quiet --nologo || exit 1
export GEMMA4EDGE_SOAK_KILLS=${GEMMA4EDGE_SOAK_KILLS:-100} GEMMA4EDGE_SOAK_COUNT=${GEMMA4EDGE_SOAK_COUNT:-200}
export GEMMA4EDGE_SOAK_FUZZ=${GEMMA4EDGE_SOAK_FUZZ:-100000} GEMMA4EDGE_SOAK_CUT=${GEMMA4EDGE_SOAK_CUT:-30}
artifacts/bin/Gemma4Edge.Tests/release/Gemma4Edge.Tests -noLogo -noColor -parallel none -showLiveOutput \
  -class '*KillTests' -class '*BrokerRestartTests' -class '*FuzzTests' -class '*NetworkCutTests' -class '*SlowReaderTests' -class '*RestartTests' -class '*RequestLedgerTests'
