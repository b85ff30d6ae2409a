#!/usr/bin/env bash
# seal.sh ROOT FILE: makes a Debian root into an image. Takes out what belongs to its making (lists, logs, caches, the
# address of this host's mirror with a password in it), puts in what every sandbox starts with, and packs it.
# The same packages give the same bytes: times later than the suite's release become that, dates in /etc/shadow go.
set -euo pipefail

root=${1:?} file=${2:?}

rm -rf -- "${root:?}"/{dev,proc,sys,run,tmp,boot} "$root"/var/tmp "$root"/var/lib/apt/lists \
  "$root"/var/cache/apt "$root"/var/cache/ldconfig "$root"/var/cache/debconf/{*-old,tmp.ci} "$root"/var/lib/dpkg/*-old "$root"/var/log
mkdir -p -- "$root"/{dev,proc,sys,run,tmp,boot} "$root"/var/{tmp,log/apt} "$root"/var/lib/apt/lists/partial \
  "$root"/var/cache/apt/archives/partial
chmod 1777 -- "$root/tmp" "$root/var/tmp"
mkdir -m 1777 -- "$root/run/lock"

mv -- "$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap" "$root/etc/dpkg/dpkg.cfg.d/no-pages"
rm -rf -- "$root"/etc/apt/apt.conf.d/{*mmdebstrap,99debconf} "$root"/etc/{resolv.conf,hostname,.pwd.lock}
# While packages are installed no daemon may start: in a sandbox they may.
if [[ -e $root/usr/sbin/start-stop-daemon.REAL ]]; then mv -f -- "$root"/usr/sbin/start-stop-daemon{.REAL,}; fi
rm -f -- "$root/usr/sbin/policy-rc.d"
rm -f -- "$root"/etc/{passwd,group,shadow,gshadow,subuid,subgid}-
mirror=$(sed -E 's#//[^/@]*@#//#' <<<"$PORTICO_PRESETS_MIRROR")
printf 'deb %s %s main\n' "$mirror" "$PORTICO_PRESETS_SUITE" >"$root/etc/apt/sources.list"

printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' >"$root/etc/hosts"
printf '# Written by the guest agent when the sandbox has a network.\n' >"$root/etc/resolv.conf"
printf 'portico\n' >"$root/etc/hostname"
printf 'LANG=C.UTF-8\n' >"$root/etc/default/locale"
: >"$root/etc/machine-id"
: >"$root/etc/fstab"
sed -E -i 's/^([^:]*:[^:]*):[0-9]+:/\1:1:/' "$root/etc/shadow"

# Uncompressed: under emulation the first `node -e 1` takes 2.2 s, and 3.6 s from lz4hc (3.5 s in 64 KiB clusters); Python's
# first start is the same within its spread (medians of 7), and the host's page cache is shared by all machines anyway.
# Times must survive: Python holds a compiled module for valid by its source's time.
SOURCE_DATE_EPOCH=$PORTICO_PRESETS_EPOCH mkfs.erofs --quiet -U 00000000-0000-4000-8000-000000000000 "$file" "$root"
