#!/usr/bin/env bash
# Step: settle once a run which Debian mirror the roots and the images come from.
set -euo pipefail
step_folder=$(dirname -- "${BASH_SOURCE[0]}")
# shellcheck source=../paths.sh
source "$step_folder/../paths.sh"
# shellcheck source=../mirror.sh
source "$step_folder/../mirror.sh"

choose_mirror "$scratch/mirror"
