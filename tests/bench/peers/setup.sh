#!/usr/bin/env bash
# Builds what the benchmark compares with and nothing else needs: a Debian root with gVisor, runc, CRIU, OpenSSH and Python, in
# the cache beside the other roots. Prints the folder. Done already: takes no lock and writes nothing.
set -euo pipefail
shopt -s nullglob
umask 022
folder=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=../../../deploy/setup/paths.sh
source "$folder/../../../deploy/setup/paths.sh"

peers_root=$cache/peers-$(fingerprint "$suite" -- "$folder/setup.sh" "$setup_folder/debian-root.sh")
if [[ -d $peers_root ]]; then
  printf '%s\n' "$peers_root"
  exit 0
fi

# build_root: runs without the packages' own scripts, so what they would have linked is linked here.
build_root() {
  rm -rf --one-file-system -- "$scratch" "$root"
  mkdir -p -- "$scratch"
  # shellcheck source=../../../deploy/setup/mirror.sh
  source "$setup_folder/mirror.sh"
  choose_mirror "$scratch/mirror"
  # shellcheck source=../../../deploy/setup/debian-root.sh
  source "$setup_folder/debian-root.sh"
  extract_packages "$root" base-files libc-bin coreutils dash tar gzip mount python3-minimal runsc runc criu iptables openssh-server openssh-client
  local name
  for name in {ip,ip6}tables{,-restore,-save}; do ln -s xtables-nft-multi "$root/usr/sbin/$name"; done
  run_inside "$root" /usr/sbin/ldconfig
  mkdir -p -- "$root"/{dev,proc,sys,run,tmp,mnt,old}
  printf '%s\n' root:x:0:0:root:/tmp:/bin/sh sshd:x:100:65534::/run/sshd:/usr/sbin/nologin >"$root/etc/passwd"
  run_inside "$root" /usr/sbin/criu --version
  run_inside "$root" /usr/bin/python3 -c 'import os'
  run_inside "$root" /usr/bin/ssh -V
}

# A set-up removes every *.partial, so the two never run at once.
exec {lock}>"$cache/setup.lock"
flock --timeout 900 "$lock"
if [[ ! -d $peers_root ]]; then
  scratch=$cache/peers-scratch.partial
  root=$peers_root.partial
  trap 'rm -rf --one-file-system -- "$scratch" "$root"' EXIT
  build_root >&2
  mv -T -- "$root" "$peers_root"
  for old in "$cache"/peers-*; do
    [[ $old == "$peers_root" || $old == *.partial ]] || rm -rf --one-file-system -- "$old"
  done
fi
printf '%s\n' "$peers_root"
