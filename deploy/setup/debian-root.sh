# shellcheck shell=bash disable=SC2034,SC2154 # names come from paths.sh and go to the steps
#
# Builds a Debian root folder with mmdebstrap from the mirror that mirror.sh chose for this run.
# Sourced by the steps that need one, after paths.sh. Leaves nothing mounted: as root, mmdebstrap works in a mount
# namespace of its own, otherwise in a user namespace.

mirror='' suite_epoch=''
if [[ -r $scratch/mirror ]]; then
  read -r mirror suite_epoch <"$scratch/mirror"
fi

# run_debootstrap MMDEBSTRAP-ARGUMENT…: the host's own way to its mirror (proxy, clock checks) holds here too.
run_debootstrap() {
  local options=(--architectures=amd64 --aptopt='Acquire::Retries "3"') key value
  for key in Acquire::http::Proxy Acquire::https::Proxy Acquire::Check-Valid-Until Acquire::Check-Date; do
    value=''
    eval "$(apt-config shell value "$key")"
    [[ -z $value ]] || options+=(--aptopt="$key \"$value\"")
  done
  if ((EUID == 0)); then
    TMPDIR=$scratch unshare --mount --propagation private mmdebstrap --mode=root "${options[@]}" "$@"
  else
    TMPDIR=$scratch mmdebstrap --mode=unshare "${options[@]}" "$@"
  fi
}

# extract_packages TARGET PACKAGE…: unpacks the packages and all they depend on, and runs none of their scripts:
# half the time of a full installation, and no more in the root than was asked for.
extract_packages() {
  local target=$1 include
  shift
  include=$(IFS=,; printf '%s' "$*")
  mkdir -p -- "$target"
  if ((EUID == 0)); then
    run_debootstrap --variant=extract --include="$include" "$suite" "$target" "$mirror"
  else
    run_debootstrap --variant=extract --include="$include" --format=tar "$suite" - "$mirror" |
      tar --extract --directory="$target" --exclude='./dev/*' --no-same-owner
  fi
  # The mirror's address may hold a password; nothing installs packages in such a root anyway.
  rm -rf -- "$target"/etc/apt "$target"/var/lib/apt "$target"/var/cache/apt "$target"/etc/resolv.conf "$target"/etc/hostname
  rm -rf -- "$target"/usr/share/{doc,man,info,locale,lintian,bug,bash-completion,zsh}
}

# run_inside ROOT COMMAND…: runs one program of a root on that root, without network.
run_inside() {
  local root=$1
  shift
  bwrap --bind "$root" / --proc /proc --dev /dev --unshare-net --unshare-pid --die-with-parent --chdir / \
    --clearenv --setenv PATH /usr/sbin:/usr/bin --setenv LC_ALL C "$@"
}
