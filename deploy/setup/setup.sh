#!/usr/bin/env bash
# Makes on this host everything that Portico needs, and nothing twice: host packages, npm packages, the machine root, the
# build root, the guest agent, the initramfs, the preset images, and assets.json, which names them.
# A run with nothing to do only compares fingerprints: it takes no lock, writes nothing and says nothing.
set -euo pipefail
shopt -s nullglob
umask 022
folder=$(dirname -- "${BASH_SOURCE[0]}")
# shellcheck source=paths.sh
source "$folder/paths.sh"
# shellcheck source=report.sh
source "$folder/report.sh"
# shellcheck source=schedule.sh
source "$folder/schedule.sh"

usage() {
  cat <<END
usage: setup.sh [--check] [--only STEP]...

  --check      say which steps are done and change nothing; exit 1 when something is to be done
  --only STEP  do that step and what it needs; may be given again

Steps: ${step_order[*]}
PORTICO_HOME names the state folder (now $portico_home), PORTICO_DEBIAN_MIRROR the Debian mirror to use.
END
}

# due_steps STEP…: those with something to do. The mirror is asked only when one of them fetches from it.
due_steps() {
  local found=() step
  for step in "$@"; do
    [[ $step == mirror ]] || is_ready "$step" || found+=("$step")
  done
  if [[ " ${found[*]} " =~ \ (vmm-root|build-root|images)\  ]]; then found+=(mirror); fi
  for step in "${step_order[@]}"; do
    [[ " ${found[*]} " != *" $step "* ]] || printf '%s\n' "$step"
  done
}

# check_host: what no step can mend.
check_host() {
  if [[ $(uname -m) != x86_64 ]]; then
    say "cannot set up on $(uname -m): Portico's machines are x86_64"
    exit 1
  fi
  if [[ $portico_home =~ [^[:alnum:]/._@+-] ]]; then
    say "cannot use $portico_home: use a state folder with only letters, digits and / . _ - + @ in its path"
    exit 1
  fi
}

# take_lock: one set-up at a time in a state folder; the lock ends with the process and all that it started.
take_lock() {
  mkdir -p -- "$cache" "$logs"
  [[ -e $portico_home/.gitignore ]] || printf '*\n' >"$portico_home/.gitignore"
  exec {lock}>"$cache/setup.lock"
  if ! flock --nonblock "$lock"; then
    say 'another set-up is at work here; waiting for it'
    if ! flock --timeout "$step_limit" "$lock"; then
      say "cannot go on: the other set-up still holds $cache/setup.lock"
      exit 1
    fi
  fi
}

# check_room: roots and images take 1 GB, and their making twice that for a while.
check_room() {
  local free
  [[ " ${due[*]} " == *' mirror '* ]] || return 0
  free=$(df --output=avail --block-size=1M -- "$cache" | tail -n 1)
  if ((free < 3000)); then
    say "cannot set up in $portico_home: $((free)) MB are free on its disk, 3000 are needed"
    exit 1
  fi
}

# remove_partials: what a killed run left. Never crosses into anything mounted.
remove_partials() {
  local left=("$cache"/*.partial*)
  if ((${#left[@]} == 0)); then return 0; fi
  if ! rm -rf --one-file-system -- "${left[@]}" 2>/dev/null; then
    # As an ordinary user, mmdebstrap's files belong to users of its namespace.
    mmdebstrap --unshare-helper rm -rf --one-file-system -- "${left[@]}"
  fi
}

# remove_old: folders of earlier recipes that neither assets.json nor a running program mentions. A platform without a
# VM at the moment keeps its parts by a file cache/users/PID.
remove_old() {
  local part user
  for user in "$cache"/users/*; do
    [[ ! -d /proc/${user##*/} ]] || return 0
  done
  for part in "$cache"/{vmm,build,agent,initramfs,images}-*; do
    case $part in "$vmm_root" | "$build_root" | "$agent_folder" | "$initramfs_folder" | "$images_folder") continue ;; esac
    if ! grep --quiet --no-messages --fixed-strings "${part##*/}" /proc/[0-9]*/mountinfo /proc/[0-9]*/cmdline; then
      rm -rf --one-file-system -- "$part"
    fi
  done
}

check=no only=()
while (($# > 0)); do
  case $1 in
    --check) check=yes ;;
    --only | --only=*)
      if [[ $1 == --only=* ]]; then only+=("${1#--only=}"); else only+=("${2:-}") && shift; fi
      if [[ -z ${only[-1]} || " ${step_order[*]} " != *" ${only[-1]} "* ]]; then
        say "cannot run the step '${only[-1]}': the steps are ${step_order[*]}"
        exit 2
      fi
      ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
  esac
  shift
done

check_host
if ((${#only[@]} == 0)); then
  wanted=("${step_order[@]}")
else
  mapfile -t wanted < <(with_needs "${only[@]}")
fi
mapfile -t due < <(due_steps "${wanted[@]}")

if [[ $check == yes ]]; then
  for step in "${wanted[@]}"; do
    if [[ " ${due[*]} " == *" $step "* ]]; then say "$step: to do"; else say "$step: done"; fi
  done
  ((${#due[@]} == 0)) && exit 0 || exit 1
fi
((${#due[@]} > 0)) || exit 0

take_lock
# Whoever held the lock may have done it all.
read_vmm_release
mapfile -t due < <(due_steps "${wanted[@]}")
((${#due[@]} > 0)) || exit 0

check_room

begun=${EPOCHREALTIME//[.,]/}
trap 'erase_line; say "stopped"; stop_steps; exit 130' INT
trap 'erase_line; stop_steps; exit 143' TERM HUP
trap 'remove_partials' EXIT
remove_partials
mkdir -p -- "$scratch"
run_steps "${due[@]}" || exit $?
if ((${#only[@]} == 0)); then
  read_vmm_release
  remove_old
fi
say "ready in $(tenths_since "$begun") s"
