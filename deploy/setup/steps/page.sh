#!/usr/bin/env bash
# Step: bundle the web page, when its sources or its packages changed.
set -euo pipefail
step_folder=$(dirname -- "${BASH_SOURCE[0]}")
# shellcheck source=../paths.sh
source "$step_folder/../paths.sh"

cd -- "$checkout"
stamp=$(page_fingerprint)
"$checkout/node_modules/.bin/node" console/build.ts
printf '%s' "$stamp" >"$page_stamp"
