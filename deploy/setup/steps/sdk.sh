#!/usr/bin/env bash
# Step: bundle the SDK, when its sources or the shared ones changed.
set -euo pipefail
step_folder=$(dirname -- "${BASH_SOURCE[0]}")
# shellcheck source=../paths.sh
source "$step_folder/../paths.sh"

cd -- "$checkout"
stamp=$(sdk_fingerprint)
npm run build --if-present --silent
printf '%s' "$stamp" >"$sdk_stamp"
