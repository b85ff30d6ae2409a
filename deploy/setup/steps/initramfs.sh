#!/usr/bin/env bash
# Step: the initramfs of every VM: the agent as /init, the kernel modules it loads (decompressed, as the agent hands
# them to the kernel as they are), and /lib/modules/load-order with one file name a line.
# Uncompressed, because under emulation the kernel unpacks slowly; the same bytes for the same inputs.
set -euo pipefail
step_folder=$(dirname -- "${BASH_SOURCE[0]}")
# shellcheck source=../paths.sh
source "$step_folder/../paths.sh"

if [[ -z $initramfs_folder ]]; then
  echo 'cannot make the initramfs: the machine root is not there'
  exit 1
fi
output=$initramfs_folder.partial
tree=$output/tree
kernel_modules=$vmm_root/usr/lib/modules/$kernel_version
mkdir -p -- "$tree"/{dev,proc,sys,run,tmp,mnt} "$tree/lib/modules"
cp -- "$agent_folder/agent" "$tree/init"

declare -A path_of=() needs_of=() taken=()
while IFS=: read -r path needs; do
  name=${path##*/}
  name=${name%%.ko*}
  path_of[${name//-/_}]=$path
  needs_of[$path]=$needs
done <"$kernel_modules/modules.dep"

# take PATH: modules.dep names every module that one needs, the deepest last.
take() {
  local path=$1 file needed list
  [[ -z ${taken[$path]:-} ]] || return 0
  taken[$path]=yes
  read -ra list <<<"${needs_of[$path]}"
  for ((needed = ${#list[@]} - 1; needed >= 0; needed--)); do
    take "${list[needed]}"
  done
  file=${path##*/}
  file=${file%.xz}
  case $path in
    *.ko.xz) xz --decompress --stdout -- "$kernel_modules/$path" >"$tree/lib/modules/$file" ;;
    *.ko) cp -- "$kernel_modules/$path" "$tree/lib/modules/$file" ;;
    *) echo "cannot unpack the kernel module $path: unknown compression" && exit 1 ;;
  esac
  if ! grep --quiet --binary-files=text --fixed-strings "vermagic=$kernel_version " "$tree/lib/modules/$file"; then
    echo "cannot use the kernel module $file: it is not of kernel $kernel_version"
    exit 1
  fi
  printf '%s\n' "$file" >>"$tree/lib/modules/load-order"
}

while read -r name _; do
  [[ -n $name && $name != '#'* ]] || continue
  if [[ -n ${path_of[$name]:-} ]]; then
    take "${path_of[$name]}"
  elif ! grep --quiet "/$name\.ko$" "$kernel_modules/modules.builtin"; then
    echo "cannot find the kernel module $name in kernel $kernel_version"
    exit 1
  fi
done <"$setup_folder/modules.txt"

find "$tree" -type f -exec chmod 0644 {} +
chmod 0755 "$tree/init"
find "$tree" -exec touch --no-dereference --date=@0 {} +
(cd -- "$tree" && find . -mindepth 1 -printf '%P\n' | LC_ALL=C sort |
  cpio --create --format=newc --reproducible --owner=0:0 --quiet) >"$output/initramfs.cpio"
chmod 0444 "$output/initramfs.cpio"
rm -rf -- "$tree"
mv -T -- "$output" "$initramfs_folder"
