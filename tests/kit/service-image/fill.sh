#!/usr/bin/env bash
# From the root of the preset `python` to the images; mmdebstrap calls it with that root, in which apt's lists are read.
# Packages are unpacked and none of their scripts runs: the whole takes 15 s of processor time.
set -euo pipefail
shopt -s extglob

root=$1
work=$(mktemp -d "$(dirname -- "$root")/services.XXXXXX")
trap 'rm -rf -- "$work"' EXIT

# unpack PACKAGE…: with what they want, without what compiles queries (switched off below, and half of everything), the scripts that
# keep several clusters on one host, and locales.
unpack() {
  local names file
  names=$(apt-get install --print-uris -qq --no-install-recommends "$@" | sed -nE "s/^'[^']+' ([^_ ]+)_.*/\1/p" |
    grep -vE '^(libllvm|libz3|locales|libc-l10n|postgresql(-client)?-common|ssl-cert)')
  mkdir -- "$work/packages"
  # shellcheck disable=SC2086 # names of packages have no spaces
  (cd -- "$work/packages" && apt-get download -qq -o APT::Sandbox::User=root $names)
  for file in "$work"/packages/*.deb; do
    dpkg-deb --fsys-tarfile "$file" | tar --extract --directory="$root" --keep-directory-symlink --no-same-owner --preserve-permissions \
      --wildcards --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' \
      --exclude='./usr/share/locale/*' --exclude='./usr/share/postgresql/*/man/*' --exclude='*/llvmjit*' --exclude='*/bitcode/*'
  done
  rm -rf -- "$work/packages"
}
APT_CONFIG=$MMDEBSTRAP_APT_CONFIG unpack postgresql pgbouncer redis-server
for name in postgres redis; do chroot "$root" useradd --system --user-group --home-dir="/var/lib/$name" --shell=/bin/sh "$name"; done
chroot "$root" ldconfig
chroot "$root" install --directory --owner=postgres --group=postgres /var/lib/postgresql
chroot "$root" install --directory --owner=redis --group=redis --mode=0750 /var/lib/redis

# PostgreSQL and pgbouncer refuse to run as root, and a service without `user` is root's: these give up their rights first.
binaries=$(cd -- "$root" && echo usr/lib/postgresql/*/bin)
for program in "$root/$binaries"/!(postgres); do ln -s "/$binaries/${program##*/}" "$root/usr/local/bin/"; done
for name in postgres pgbouncer; do
  program=/$binaries/postgres
  [[ $name == postgres ]] || program=/usr/sbin/pgbouncer
  printf '#!/bin/sh\n[ "$(id -u)" = 0 ] || exec %s "$@"\nexec setpriv --reuid=postgres --regid=postgres --init-groups %s "$@"\n' \
    "$program" "$program" >"$root/usr/local/bin/$name"
  chmod 0755 -- "$root/usr/local/bin/$name"
done

data=/var/lib/postgresql/data
chroot "$root" setpriv --reuid=postgres --regid=postgres --init-groups "/$binaries/initdb" --pgdata="$data" \
  --auth=trust --username=postgres --encoding=UTF8 --locale=C.UTF-8 --no-sync --wal-segsize=1
cat >>"$root$data/postgresql.conf" <<END
listen_addresses = '127.0.0.1'
unix_socket_directories = '/tmp'
max_connections = 20
shared_buffers = 16MB
min_wal_size = 4MB
max_wal_size = 16MB
jit = off
END

mkdir -p -- "$root/etc/pgbouncer"
cat >"$root/etc/pgbouncer/pgbouncer.ini" <<END
[databases]
* = host=127.0.0.1 port=5432

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = 6432
unix_socket_dir =
auth_type = trust
auth_file = /etc/pgbouncer/userlist.txt
pool_mode = session
END
printf '"postgres" ""\n' >"$root/etc/pgbouncer/userlist.txt"
chmod 0755 -- "$root/etc/pgbouncer"
chmod 0644 -- "$root/etc/pgbouncer/pgbouncer.ini" "$root/etc/pgbouncer/userlist.txt"

# What tests of containers want and no more, so that it is in a sandbox within seconds: Node with its server, Redis, a shell.
fsck.erofs --extract="$work/node" "$PORTICO_SERVICES_NODE"
container=$work/container
programs=(/usr/bin/{cat,dash,env,redis-check-rdb,redis-cli,sleep})
mkdir -p -- "$container"/{dev,etc,proc,root,run,sys,tmp,usr/bin,usr/local/bin}
mv -- "$work/node/usr/local/bin/node" "$root/tmp/node"
libraries=$(chroot "$root" ldd /tmp/node "${programs[@]}" | grep -oE '/\S+\.so[.0-9]*' | sort -u)
mv -- "$root/tmp/node" "$container/usr/local/bin/node"
# shellcheck disable=SC2086 # names of libraries have no spaces
(cd -- "$root" && cp --recursive --dereference --parents -- usr/lib/locale/C.utf8 etc/passwd etc/group "${programs[@]#/}" $(sed 's#^/##' <<<"$libraries") "$container")
ln -s usr/bin "$container/bin"
ln -s dash "$container/usr/bin/sh"
ln -s redis-check-rdb "$container/usr/bin/redis-server"
cp -- "$PORTICO_SERVICES/server.js" "$container/server.js"
SOURCE_DATE_EPOCH=$PORTICO_PRESETS_EPOCH mkfs.erofs --quiet -zlz4 -C65536 "$PORTICO_SERVICES_OUTPUT/containers.erofs" "$container"

# Without what mmdebstrap has mounted in the root; it throws the rest away.
mkdir -m 0755 -- "$work/services"
mv -- "$root"/!(dev|proc|sys) "$work/services/"
mv -- "$work"/services/etc/dpkg/dpkg.cfg.d/{no-pages,99mmdebstrap} # seal.sh names it back
bash "$PORTICO_SERVICES_SEAL" "$work/services" "$PORTICO_SERVICES_OUTPUT/services.erofs"
