# shellcheck shell=bash disable=SC2154 # names come from paths.sh
#
# Chooses the Debian mirror that set-up fetches from: PORTICO_DEBIAN_MIRROR, otherwise the first of the host's own
# apt sources that serves the pinned suite. Sourced by the mirror step; writes nothing but the file it is told.

# host_mirrors: the archive addresses in the host's apt sources, in both formats of them (apt itself reads them).
host_mirrors() {
  local uri release component codename='' line
  # shellcheck disable=SC1091
  [[ ! -r /etc/os-release ]] || codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
  while read -r uri release component; do
    [[ $component == main && $uri != *security* ]] || continue
    case ${release%/} in "$suite" | "$codename" | stable | oldstable | testing | sid) ;; *) continue ;; esac
    case $uri in
      http://* | https://*) printf '%s\n' "${uri%/}" ;;
      mirror+file:*)
        uri=${uri#mirror+file:}
        [[ -r ${uri%/} ]] || continue
        while read -r line _; do
          [[ $line != http*://* ]] || printf '%s\n' "${line%/}"
        done <"${uri%/}"
        ;;
    esac
  done < <(apt-get indextargets --no-release-info --format "\$(REPO_URI) \$(RELEASE) \$(COMPONENT)" 'Created-By: Packages') |
    awk '!seen[$0]++'
}

# suite_date MIRROR: seconds since 1970 of the suite's release file there; fails when that is not Debian's.
suite_date() {
  local file=$scratch/InRelease text
  rm -f -- "$file"
  /usr/lib/apt/apt-helper -o Acquire::Retries=2 download-file "$1/dists/$suite/InRelease" "$file" >&2 || return 1
  text=$(<"$file")
  [[ $text == *$'\nOrigin: Debian\n'* && $text == *$'\nCodename: '"$suite"$'\n'* ]] || return 1
  text=${text#*$'\n'Date: }
  date --date="${text%%$'\n'*}" +%s
}

# choose_mirror FILE: writes "ADDRESS SECONDS" there.
choose_mirror() {
  local candidates=() candidate date
  if [[ -n ${PORTICO_DEBIAN_MIRROR:-} ]]; then
    candidates=("${PORTICO_DEBIAN_MIRROR%/}")
  else
    mapfile -t candidates < <(host_mirrors)
  fi
  for candidate in "${candidates[@]}"; do
    if date=$(suite_date "$candidate"); then
      printf '%s %s\n' "$candidate" "$date" >"$1"
      return 0
    fi
  done
  printf 'cannot find a Debian mirror that serves the suite %s.\n' "$suite" >&2
  if ((${#candidates[@]} > 0)); then
    printf 'Tried: %s\n' "$(printf '%s ' "${candidates[@]}" | sed -E 's#//[^/@]*@#//#g')" >&2
  else
    printf 'The apt sources of this host name no Debian mirror over http or https.\n' >&2
  fi
  printf 'Set PORTICO_DEBIAN_MIRROR to the address of a full Debian mirror (the part before /dists/%s) and run set-up again.\n' "$suite" >&2
  return 1
}
