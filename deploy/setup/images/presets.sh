#!/usr/bin/env bash
# From one Debian root to the preset images. mmdebstrap calls it with the root in which the shared packages stand and
# apt still works; PORTICO_PRESETS_* say where the npm packages are and where the images go.
# Each image is a copy of that root plus its own part, sealed by images/seal.sh; node is packed while apt installs Python.
set -euo pipefail
shopt -s extglob

base=$1
folder=$(dirname -- "$PORTICO_PRESETS")
work=$(mktemp -d "$(dirname -- "$base")/presets.XXXXXX")
trap 'rm -rf -- "$work"' EXIT

# copy_base NAME: without what mmdebstrap has mounted in the root, or made there for the time being.
copy_base() {
  mkdir -m 0755 -- "$work/$1"
  cp -a --one-file-system -- "$base"/!(dev|proc|sys) "$work/$1/"
}

add_node() {
  local root=$work/node
  mkdir -p -- "$root/usr/local/lib/node_modules/npm" "$root/usr/local/bin" "$root/usr/local/etc"
  tar --extract --gzip --file="$PORTICO_PRESETS_PACKAGES/node.tgz" --directory="$root/usr/local" --strip-components=1 \
    --no-same-owner package/bin/node package/LICENSE
  mkdir -p -- "$root/usr/local/share/doc/node"
  mv -- "$root/usr/local/LICENSE" "$root/usr/local/share/doc/node/LICENSE"
  tar --extract --gzip --file="$PORTICO_PRESETS_PACKAGES/npm.tgz" --directory="$root/usr/local/lib/node_modules/npm" \
    --strip-components=1 --no-same-owner --exclude=package/docs --exclude=package/man
  chmod 0755 -- "$root/usr/local/bin/node" "$root"/usr/local/lib/node_modules/npm/bin/{npm,npx}-cli.js
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
  ln -s ../lib/node_modules/npm/bin/npx-cli.js "$root/usr/local/bin/npx"
  ln -s node "$root/usr/local/bin/nodejs"
  printf 'update-notifier=false\nfund=false\naudit=false\n' >"$root/usr/local/etc/npmrc"
  chroot "$root" /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/root npm --version
  rm -rf -- "$root/root/.npm"
}

add_python() {
  local root=$base
  chroot "$root" /usr/bin/env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends \
    python3 python3-pip python3-venv
  copy_base python
  root=$work/python
  ln -s /usr/bin/python3 "$root/usr/local/bin/python"
  # A sandbox is a throw-away machine: `pip install` as root is what its user means.
  printf '[global]\nbreak-system-packages = true\nroot-user-action = ignore\ndisable-pip-version-check = true\n' >"$root/etc/pip.conf"
}

copy_base node
{ add_node && bash "$folder/seal.sh" "$work/node" "$PORTICO_PRESETS_OUTPUT/node.erofs" && rm -rf -- "$work/node"; } &
node_job=$!
add_python
bash "$folder/seal.sh" "$work/python" "$PORTICO_PRESETS_OUTPUT/python.erofs"
wait "$node_job"
