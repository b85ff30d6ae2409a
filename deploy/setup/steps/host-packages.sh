#!/usr/bin/env bash
# Step: install the Debian packages that set-up and the runner call. Exit 3: somebody with root has to do it.
set -euo pipefail
step_folder=$(dirname -- "${BASH_SOURCE[0]}")
# shellcheck source=../paths.sh
source "$step_folder/../paths.sh"

mapfile -t missing < <(missing_packages)
if ! command -v apt-get >/dev/null; then
  echo "cannot install ${missing[*]}: this host has no apt-get (Portico's set-up knows Debian 12 and 13)"
  exit 3
fi
if ((EUID != 0)); then
  echo "cannot install as this user: ${missing[*]}. Run this line, then set-up again:"
  echo "  sudo apt-get install --no-install-recommends ${missing[*]}"
  exit 3
fi

export DEBIAN_FRONTEND=noninteractive
lists_deadline=$((SECONDS + 600))

install_missing() {
  apt-get install --yes --quiet --no-install-recommends -o DPkg::Lock::Timeout=600 "${missing[@]}"
}

# Waiting for dpkg's lock is apt's own option; for the lock on the lists there is none.
update_lists() {
  local said
  until said=$(apt-get update --quiet -o Acquire::Retries=3 2>&1); do
    printf '%s\n' "$said"
    [[ $said == *'Could not get lock'* ]] && ((SECONDS < lists_deadline)) || return 1
    sleep 2
  done
}

# Lists that are already there usually do; old or absent ones are brought up to date, once.
if ! install_missing; then
  echo 'The package lists seem old; fetching new ones.'
  update_lists
  install_missing
fi
