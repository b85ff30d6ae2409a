#!/usr/bin/env bash
# Builds what tests with real services boot and nothing else needs: the image `services`, which is the preset `python` with
# PostgreSQL, Redis, pgbouncer and their clients, and the small image `containers` with the preset's Node, a server of a few lines at
# /server.js, and Redis. In the cache beside the presets, from the same suite and mirror. Prints the folder. Done already: takes no
# lock and writes nothing.
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
names=(services containers)

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
  export PORTICO_PRESETS_EPOCH=$suite_epoch PORTICO_PRESETS_MIRROR=$mirror PORTICO_PRESETS_SUITE=$suite
  export PORTICO_SERVICES=$folder PORTICO_SERVICES_OUTPUT=$output PORTICO_SERVICES_SEAL=$setup_folder/images/seal.sh
  export PORTICO_SERVICES_PYTHON=$images_folder/python.erofs PORTICO_SERVICES_NODE=$images_folder/node.erofs
  # The preset is the root, and mmdebstrap installs nothing in it: it reads the mirror's lists and mounts what programs want.
  # shellcheck disable=SC2016 # mmdebstrap's own shell expands these
  run_debootstrap --variant=custom --setup-hook='fsck.erofs --extract="$1" --overwrite "$PORTICO_SERVICES_PYTHON"' \
    --setup-hook='echo "deb $PORTICO_PRESETS_MIRROR $PORTICO_PRESETS_SUITE main" >"$1/etc/apt/sources.list"' \
    --customize-hook='bash "$PORTICO_SERVICES/fill.sh" "$1"' --skip=chroot/start-stop-daemon,chroot/policy-rc.d,cleanup --format=null "$suite" - "$mirror"
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
