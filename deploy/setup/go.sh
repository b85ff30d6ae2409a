#!/usr/bin/env bash
# Runs `go ARGUMENT…` of the build root in the guest agent's folder: `go.sh build .`, `go.sh test ./...`, `go.sh vet ./...`.
# Sees the checkout (at /portico) and Go's build cache, and no network: the agent has no dependency but the standard
# library. Paths in arguments are relative to guest-agent/; PORTICO_GO_OUTPUT names one more folder, seen as /output.
set -euo pipefail
# shellcheck source=paths.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/paths.sh"

if [[ ! -d $build_root ]]; then
  bash "$setup_folder/setup.sh" --only build-root
fi
mkdir -p -- "$cache/go-build"

output=()
if [[ -n ${PORTICO_GO_OUTPUT:-} ]]; then
  output=(--bind "$PORTICO_GO_OUTPUT" /output)
fi
exec bwrap --die-with-parent --unshare-net --unshare-pid --unshare-ipc --unshare-uts --hostname portico-build \
  --ro-bind "$build_root/usr" /usr --ro-bind "$build_root/etc" /etc \
  --symlink usr/bin /bin --symlink usr/sbin /sbin --symlink usr/lib /lib --symlink usr/lib64 /lib64 \
  --proc /proc --dev /dev --tmpfs /tmp --dir /run --dir /root \
  --bind "$checkout" /portico --bind "$cache/go-build" /cache "${output[@]}" --chdir /portico/guest-agent \
  --clearenv --setenv PATH /usr/sbin:/usr/bin:/sbin:/bin --setenv HOME /root --setenv LANG C.UTF-8 --setenv TERM "${TERM:-dumb}" \
  --setenv GOCACHE /cache --setenv GOMODCACHE /tmp/modules --setenv GOTOOLCHAIN local --setenv GOTELEMETRY off \
  --setenv GOFLAGS '-mod=mod -buildvcs=false' --setenv GOPROXY off --setenv CGO_ENABLED 0 --setenv GOAMD64 v1 \
  go "$@"
