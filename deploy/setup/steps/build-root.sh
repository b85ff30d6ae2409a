#!/usr/bin/env bash
# Step: the build root, a folder with Go and the few programs that its tests call. Used by go.sh alone.
set -euo pipefail
step_folder=$(dirname -- "${BASH_SOURCE[0]}")
# shellcheck source=../paths.sh
source "$step_folder/../paths.sh"
# shellcheck source=../debian-root.sh
source "$step_folder/../debian-root.sh"

root=$build_root.partial
extract_packages "$root" base-files base-passwd bash coreutils dash findutils grep libc-bin procps sed util-linux golang-go

# What the packages' own scripts would have done.
cp -- "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
cp -- "$root/usr/share/base-passwd/group.master" "$root/etc/group"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"

rm -rf -- "$root"/usr/share/go-*/{test,api} "$root"/usr/lib/x86_64-linux-gnu/gconv
mkdir -p -- "$root"/{dev,proc,tmp}
run_inside "$root" /usr/bin/go version
mv -T -- "$root" "$build_root"
