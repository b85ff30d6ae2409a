#!/usr/bin/env bash
# enter.sh ROOT WORK: a shell with ROOT as its file system and WORK at /mnt, reading commands from its standard input. It has to be
# started in mount and process namespaces of its own: what is mounted and started here ends with them.
set -euo pipefail
root=${1:?} work=${2:?}

mount --bind "$root" "$root"
mkdir -p -- "$work/bundle/rootfs"
mount --bind "$root" "$work/bundle/rootfs"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount --rbind "$work" "$root/mnt"
cd -- "$root"
pivot_root . old
umount -l old
exec chroot . /usr/bin/env -i PATH=/usr/sbin:/usr/bin HOME=/tmp /bin/sh
