#!/usr/bin/env bash
# Step: compile the guest agent, one static binary.
set -euo pipefail
step_folder=$(dirname -- "${BASH_SOURCE[0]}")
# shellcheck source=../paths.sh
source "$step_folder/../paths.sh"

if [[ ! -f $checkout/guest-agent/go.mod ]]; then
  echo 'cannot build the guest agent: guest-agent/go.mod is missing from the checkout'
  exit 1
fi
output=$agent_folder.partial
mkdir -p -- "$output"
PORTICO_GO_OUTPUT=$output bash "$setup_folder/go.sh" build -trimpath -ldflags "-s -w -X main.version=$agent_version" -o /output/agent .

if [[ $(agent_fingerprint) != "$agent_hash" ]]; then
  echo 'cannot vouch for the guest agent: its sources changed while they were compiled; run set-up again'
  exit 1
fi
mv -T -- "$output" "$agent_folder"
