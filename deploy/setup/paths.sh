# shellcheck shell=bash disable=SC2034 # most names are read by the scripts that source this file
#
# Where set-up keeps what it makes, under which names, and when a step has nothing to do.
# Owns every name in the cache. A name ends in a fingerprint of all that went into its making, and a folder gets its
# name by rename when it is whole, so "it exists" means "it is finished and current". Nothing here writes.
#
# Sourced by setup.sh, by the steps and by go.sh. The whole of it runs at every start: keep it to some tens of forks.

setup_folder=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
checkout=$(cd -- "$setup_folder/../.." && pwd -P)
portico_home=$(realpath -m -- "${PORTICO_HOME:-$checkout/.portico}")
cache=$portico_home/cache
logs=$portico_home/log/setup
scratch=$cache/scratch.partial # one run's working room; anything named *.partial* counts for nothing

suite=trixie # Debian 13: QEMU 10.0, kernel 6.12, Go 1.24, whatever suite the host runs

# fingerprint WORD… -- FILE…: twelve hex digits over the words and the files' contents (not their places).
fingerprint() {
  local words=() sum
  while [[ $1 != -- ]]; do
    words+=("$1")
    shift
  done
  shift
  sum=$({ printf '%s\0' "${words[@]}"; sha256sum -- "$@" | cut -c1-64; } | sha256sum)
  printf '%s' "${sum:0:12}"
}

# tree_fingerprint FOLDER…: over the names and contents of what a build reads, so tests and pages are left out.
tree_fingerprint() {
  local sum
  sum=$(cd -- "$checkout" && find "$@" -type f ! -name '*_test.go' ! -name '*.test.ts' ! -path '*/testdata/*' \
    ! -path '*/node_modules/*' ! -path '*/dist/*' ! -name '*.md' -print0 | LC_ALL=C sort -z | xargs -0r sha256sum | sha256sum)
  printf '%s' "${sum:0:12}"
}

recipe=$setup_folder/steps
vmm_root=$cache/vmm-$(fingerprint "$suite" -- "$recipe/vmm-root.sh" "$setup_folder/debian-root.sh")
build_root=$cache/build-$(fingerprint "$suite" -- "$recipe/build-root.sh" "$setup_folder/debian-root.sh")
images_folder=$cache/images-$(fingerprint "$suite" -- "$recipe/images.sh" "$setup_folder"/images/*.sh "$setup_folder/debian-root.sh")
image_names=(python node)

package_version=0.0.0
if [[ -r $checkout/package.json && $(<"$checkout/package.json") =~ \"version\":[[:space:]]*\"([^\"]+)\" ]]; then
  package_version=${BASH_REMATCH[1]}
fi

# agent_fingerprint: apart, because sources may change while they are compiled.
agent_fingerprint() {
  fingerprint "$package_version" "$(tree_fingerprint guest-agent)" "${build_root##*/}" -- "$recipe/agent.sh" "$setup_folder/go.sh"
}
agent_hash=$(agent_fingerprint)
agent_version=$package_version+$agent_hash
agent_folder=$cache/agent-$agent_hash

# read_vmm_release: what the machine root holds is known once it is built; the initramfs belongs to that very kernel.
read_vmm_release() {
  kernel_version='' qemu_version='' initramfs_folder=''
  [[ -r $vmm_root/etc/portico-vmm ]] || return 0
  # shellcheck disable=SC1091 # written by steps/vmm-root.sh: kernel_version= and qemu_version=
  source "$vmm_root/etc/portico-vmm"
  initramfs_folder=$cache/initramfs-$(fingerprint "$agent_hash" "$kernel_version" -- "$recipe/initramfs.sh" "$setup_folder/modules.txt")
}
read_vmm_release

host_packages=(mmdebstrap bubblewrap erofs-utils e2fsprogs iproute2 nftables util-linux xz-utils cpio debian-archive-keyring wrk curl skopeo umoci)
# For tests of the web page; a host that only runs machines does without.
[[ ${PORTICO_BROWSER:-yes} == no ]] || host_packages+=(chromium fonts-dejavu-core)
((EUID == 0)) || host_packages+=(uidmap)

# missing_packages: one a line; asks dpkg alone.
missing_packages() {
  local have
  have=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "${host_packages[@]}" 2>/dev/null) || true
  local name
  for name in "${host_packages[@]}"; do
    [[ $'\n'$have$'\n' == *$'\n'"$name installed"$'\n'* ]] || printf '%s\n' "$name"
  done
}

node_stamp=$checkout/node_modules/.portico-lock
sdk_stamp=$cache/sdk.stamp

# node_packages_ready: `npm ci` ran for this lock file, or somebody's own `npm install` came after it.
node_packages_ready() {
  local lock=$checkout/package-lock.json installed=$checkout/node_modules/.package-lock.json
  [[ -f $lock && -f $installed ]] || return 1
  [[ ! $lock -nt $installed ]] && return 0
  [[ -f $node_stamp && $(<"$node_stamp") == "$(fingerprint -- "$lock")" ]]
}

sdk_has_build() { [[ -f $checkout/sdk/build.ts ]]; }
sdk_fingerprint() { tree_fingerprint sdk shared/src; }
sdk_ready() {
  sdk_has_build || return 0
  [[ -f $sdk_stamp && -d $checkout/sdk/dist && $(<"$sdk_stamp") == "$(sdk_fingerprint)" ]]
}

# The web page that the front door serves.
page_stamp=$cache/page.stamp
page_has_build() { [[ -f $checkout/console/build.ts ]]; }
page_fingerprint() { fingerprint "$(tree_fingerprint console)" -- "$checkout/package-lock.json"; }
page_ready() {
  page_has_build || return 0
  [[ -f $page_stamp && -f $checkout/console/dist/index.html && $(<"$page_stamp") == "$(page_fingerprint)" ]]
}

# print_assets: the exact text of assets.json, or nothing while a part is missing.
print_assets() {
  [[ -n $kernel_version && -f $initramfs_folder/initramfs.cpio && -x $agent_folder/agent && -d $images_folder ]] || return 0
  local name separator='' path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  printf '{\n  "schema": 1,\n  "vmmRoot": "%s",\n  "kernel": "%s",\n  "kernelVersion": "%s",\n' \
    "$vmm_root" "$vmm_root/boot/vmlinuz-$kernel_version" "$kernel_version"
  printf '  "initramfs": "%s",\n  "agent": "%s",\n  "agentVersion": "%s",\n  "qemuVersion": "%s",\n  "images": {' \
    "$initramfs_folder/initramfs.cpio" "$agent_folder/agent" "$agent_version" "$qemu_version"
  for name in "${image_names[@]}"; do
    printf '%s\n    "%s": {\n      "erofs": "%s",\n      "digest": "sha256:%s",\n' \
      "$separator" "$name" "$images_folder/$name.erofs" "$(<"$images_folder/$name.sha256")"
    printf '      "env": { "PATH": "%s", "LANG": "C.UTF-8" },\n      "workdir": "/"\n    }' "$path"
    separator=,
  done
  printf '\n  }\n}\n'
}

assets_ready() {
  local text
  text=$(print_assets)
  [[ -n $text && -f $cache/assets.json && $(<"$cache/assets.json") == "$text" ]]
}

# is_ready STEP: true when the step has nothing to do.
is_ready() {
  case $1 in
    host-packages) [[ -z $(missing_packages) ]] ;;
    node-packages) node_packages_ready ;;
    vmm-root) [[ -d $vmm_root ]] ;;
    build-root) [[ -d $build_root ]] ;;
    agent) [[ -x $agent_folder/agent ]] ;;
    initramfs) [[ -n $initramfs_folder && -f $initramfs_folder/initramfs.cpio ]] ;;
    images) [[ -d $images_folder ]] ;;
    sdk) sdk_ready ;;
    page) page_ready ;;
    assets) assets_ready ;;
  esac
}
