#!/usr/bin/env bash
# From the Debian root in which the packages stand to the images; mmdebstrap calls it with that root.
set -euo pipefail
shopt -s extglob

root=$1
work=$(mktemp -d "$(dirname -- "$root")/services.XXXXXX")
trap 'rm -rf -- "$work"' EXIT

# PostgreSQL and pgbouncer refuse to run as root, and a service without `user` is root's: these give up their rights first.
binaries=$(cd -- "$root" && echo usr/lib/postgresql/*/bin)
for name in postgres pgbouncer; do
  program=/$binaries/postgres
  [[ $name == postgres ]] || program=/usr/sbin/pgbouncer
  printf '#!/bin/sh\n[ "$(id -u)" = 0 ] || exec %s "$@"\nexec setpriv --reuid=postgres --regid=postgres --init-groups %s "$@"\n' \
    "$program" "$program" >"$root/usr/local/bin/$name"
  chmod 0755 -- "$root/usr/local/bin/$name"
done
ln -s /usr/bin/python3 "$root/usr/local/bin/python"

# Compiles queries, which is switched off below, and is a third of everything.
rm -rf -- "$root"/usr/lib/x86_64-linux-gnu/libLLVM* "$root"/usr/lib/postgresql/*/lib/{llvmjit*,bitcode}
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
chmod 0644 -- "$root/etc/pgbouncer/pgbouncer.ini" "$root/etc/pgbouncer/userlist.txt"

# What a Node image is to a container: the preset's Node with the libraries it wants, a shell, and an application.
fsck.erofs --extract="$work/node" "$PORTICO_SERVICES_NODE"
rm -rf -- "$work"/node/usr/local/lib/node_modules "$work"/node/usr/lib/{git-core,python3*} "$work"/node/usr/share \
  "$work"/node/usr/lib/x86_64-linux-gnu/{perl*,gconv} "$work"/node/var/lib/dpkg "$work"/node/usr/include
cp -- "$PORTICO_SERVICES/server.js" "$work/node/server.js"
SOURCE_DATE_EPOCH=$PORTICO_PRESETS_EPOCH mkfs.erofs --quiet "$PORTICO_SERVICES_OUTPUT/node-app.erofs" "$work/node"

# What tests of containers want and no more, so that it is in a sandbox within seconds: Node with its server, Redis, a shell.
container=$work/container
programs=(/usr/bin/{cat,dash,env,redis-check-rdb,redis-cli,sleep})
mkdir -p -- "$container"/{dev,etc,proc,root,run,sys,tmp,usr/bin,usr/local/bin}
cp -- "$work/node/usr/local/bin/node" "$root/tmp/node"
libraries=$(chroot "$root" ldd /tmp/node "${programs[@]}" | grep -oE '/\S+\.so[.0-9]*' | sort -u)
mv -- "$root/tmp/node" "$container/usr/local/bin/node"
# shellcheck disable=SC2086 # names of libraries have no spaces
(cd -- "$root" && cp --recursive --dereference --parents -- usr/lib/locale/C.utf8 etc/passwd etc/group "${programs[@]#/}" $(sed 's#^/##' <<<"$libraries") "$container")
ln -s usr/bin "$container/bin"
ln -s dash "$container/usr/bin/sh"
ln -s redis-check-rdb "$container/usr/bin/redis-server"
cp -- "$PORTICO_SERVICES/server.js" "$container/server.js"
SOURCE_DATE_EPOCH=$PORTICO_PRESETS_EPOCH mkfs.erofs --quiet -zlz4hc -C65536 "$PORTICO_SERVICES_OUTPUT/containers.erofs" "$container"

# Without what mmdebstrap has mounted in the root, or made there for the time being.
mkdir -m 0755 -- "$work/services"
cp -a --one-file-system -- "$root"/!(dev|proc|sys) "$work/services/"
bash "$PORTICO_SERVICES_SEAL" "$work/services" "$PORTICO_SERVICES_OUTPUT/services.erofs"
