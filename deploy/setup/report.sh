# shellcheck shell=bash disable=SC2154 # names come from paths.sh
#
# What a person sees of set-up, all on stderr. On a terminal: one line a finished step, and below them a moving line with
# the steps under way. In a pipe: a plain line when a step starts and when it ends. Nothing when nothing was to be done.

watched=no
[[ ! -t 2 || ${TERM:-dumb} == dumb ]] || watched=yes

declare -A titles=(
  [host-packages]='host packages' [node-packages]='npm packages' [mirror]='Debian mirror' [vmm-root]='machine root'
  [build-root]='build root' [agent]='guest agent' [initramfs]='initramfs' [images]='preset images' [sdk]='SDK' [page]='web page' [assets]='assets'
)
declare -A started_at=()

say() { printf 'setup: %s\n' "$*" >&2; }

erase_line() { [[ $watched == no ]] || printf '\r\033[K' >&2; }

# tenths_since MICROSECONDS: "12.3"
tenths_since() {
  local tenths=$(((${EPOCHREALTIME//[.,]/} - $1) / 100000))
  printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}

report_start() {
  local title=${titles[$1]}
  started_at[$1]=${EPOCHREALTIME//[.,]/}
  [[ $1 != host-packages ]] || title+=" ($(missing_packages | paste -sd' '))"
  [[ $watched == yes ]] || say "$title: started"
}

report_end() {
  erase_line
  if [[ $watched == yes ]]; then
    printf '  %-16s %6s s\n' "${titles[$1]}" "$(tenths_since "${started_at[$1]}")" >&2
  else
    say "${titles[$1]}: done in $(tenths_since "${started_at[$1]}") s"
  fi
}

# report_progress STEP…: redraws the moving line: each step's seconds, and the last thing the first one said.
report_progress() {
  [[ $watched == yes ]] || return 0
  local step line='' said width=${COLUMNS:-80}
  for step in "$@"; do
    line+="${line:+, }${titles[$step]} $((${EPOCHREALTIME//[.,]/} / 1000000 - ${started_at[$step]} / 1000000)) s"
  done
  said=$(tail -c 400 -- "$logs/$1.log" 2>/dev/null | tr -d '\000-\010\013-\037' | tail -n 1) || said=''
  line="  $line  $said"
  printf '\r\033[K%s' "${line:0:$((width - 1))}" >&2
}

report_failure() {
  erase_line
  say "cannot finish the step '${titles[$1]}'. The end of $logs/$1.log:"
  tail -n 15 -- "$logs/$1.log" | sed 's/^/  /' >&2
}
