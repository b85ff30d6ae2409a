#!/usr/bin/env bash
# Builds what tests with real services boot and nothing else needs: the image `services` with PostgreSQL, Redis, pgbouncer, their
# clients, git and Python, the image `node-app` with Node and a server of a few lines at /server.js, and the small image
# `containers` with Node, that server and Redis. In the cache beside the
# presets, from the same suite and mirror. Prints the folder. Done already: takes no lock and writes nothing.
set -euo pipefail
shopt -s nullglob
umask 022
folder=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=../../../deploy/setup/paths.sh
source "$folder/../../../deploy/setup/paths.sh"

services_folder=$cache/services-$(fingerprint "$suite" "${images_folder##*/}" -- "$folder"/{setup,fill}.sh "$folder/server.js" \
  "$setup_folder/images/seal.sh" "$setup_folder/debian-root.sh")
if [[ -d $services_folder ]]; then
  printf '%s\n' "$services_folder"
  exit 0
fi
included=bash,coreutils,curl,git,ca-certificates,procps,python3,postgresql,postgresql-client,pgbouncer,redis-server,redis-tools
names=(services node-app containers)

build_images() {
  rm -rf --one-file-system -- "$scratch" "$output"
  mkdir -p -- "$scratch" "$output"
  # shellcheck source=../../../deploy/setup/mirror.sh
  source "$setup_folder/mirror.sh"
  choose_mirror "$scratch/mirror"
  # shellcheck source=../../../deploy/setup/debian-root.sh
  source "$setup_folder/debian-root.sh"
  # In a user namespace the hook runs as somebody else, who has to be able to write here.
  ((EUID == 0)) || chmod 1777 -- "$output" "$scratch"
  export PORTICO_PRESETS_EPOCH=$suite_epoch PORTICO_PRESETS_MIRROR=$mirror PORTICO_PRESETS_SUITE=$suite PYTHONHASHSEED=0
  export PORTICO_SERVICES=$folder PORTICO_SERVICES_OUTPUT=$output PORTICO_SERVICES_NODE=$images_folder/node.erofs
  export PORTICO_SERVICES_SEAL=$setup_folder/images/seal.sh
  local path slim=()
  for path in doc man info locale lintian bug; do slim+=(--dpkgopt="path-exclude=/usr/share/$path/*"); done
  # The cluster is made by fill.sh, where the tests expect it.
  # shellcheck disable=SC2016 # mmdebstrap's own shell expands these
  run_debootstrap --variant=minbase --include="$included" "${slim[@]}" \
    --essential-hook='mkdir -p "$1/etc/postgresql-common" && echo "create_main_cluster = false" >"$1/etc/postgresql-common/createcluster.conf"' \
    --customize-hook='bash "$PORTICO_SERVICES/fill.sh" "$1"' --format=null "$suite" - "$mirror"
  local name sum
  for name in "${names[@]}"; do
    if ((EUID != 0)); then
      cp -- "$output/$name.erofs" "$scratch/$name.erofs" && mv -f -- "$scratch/$name.erofs" "$output/$name.erofs"
    fi
    chmod 0444 -- "$output/$name.erofs"
    sum=$(sha256sum -- "$output/$name.erofs")
    printf '%s' "${sum%% *}" >"$output/$name.sha256"
  done
  ((EUID == 0)) || chmod 0755 -- "$output"
}

# A set-up removes every *.partial, so the two never run at once.
exec {lock}>"$cache/setup.lock"
flock --timeout 900 "$lock"
if [[ ! -d $services_folder ]]; then
  scratch=$cache/services-scratch.partial
  output=$services_folder.partial
  trap 'rm -rf --one-file-system -- "$scratch" "$output"' EXIT
  build_images >&2
  mv -T -- "$output" "$services_folder"
  for old in "$cache"/services-*; do
    [[ $old == "$services_folder" || $old == *.partial ]] || rm -rf --one-file-system -- "$old"
  done
fi
printf '%s\n' "$services_folder"
