#!/usr/bin/env bash
# Step: write assets.json, the one page that tells the runner where everything is. Last of all, by atomic rename.
set -euo pipefail
step_folder=$(dirname -- "${BASH_SOURCE[0]}")
# shellcheck source=../paths.sh
source "$step_folder/../paths.sh"

text=$(print_assets)
if [[ -z $text ]]; then
  echo 'cannot write assets.json: a part is missing'
  exit 1
fi
printf '%s\n' "$text" >"$cache/assets.json.partial"
mv -T -- "$cache/assets.json.partial" "$cache/assets.json"
