# shellcheck shell=bash disable=SC2154 # names come from paths.sh and report.sh
#
# Runs the steps that are due, two at a time, each after those it needs. A step is a script of its own in a process group
# of its own, so that stopping set-up stops all that the step started. The first failure stops the others.

declare -A needs=(
  [host-packages]='' [node-packages]='' [mirror]='host-packages' [vmm-root]='mirror' [build-root]='mirror'
  [agent]='build-root' [initramfs]='vmm-root agent' [images]='mirror' [sdk]='node-packages' [page]='node-packages' [assets]='vmm-root agent initramfs images'
)
# The longest first, so that two cores stay busy to the end.
step_order=(host-packages mirror images build-root vmm-root agent initramfs node-packages sdk page assets)

declare -A running=() # process group -> step
step_limit=3600       # seconds; a slow line needs some 30 minutes for the 250 MB of packages

# with_needs STEP…: those steps and all they need, in order, each once.
with_needs() {
  local -A chosen=()
  local queue=("$@") step
  while ((${#queue[@]} > 0)); do
    step=${queue[0]}
    queue=("${queue[@]:1}")
    chosen[$step]=yes
    # shellcheck disable=SC2206 # a list of words
    queue+=(${needs[$step]})
  done
  for step in "${step_order[@]}"; do
    [[ -z ${chosen[$step]:-} ]] || printf '%s\n' "$step"
  done
}

start_step() {
  report_start "$1"
  setsid timeout --kill-after=10 "$step_limit" bash "$setup_folder/steps/$1.sh" >"$logs/$1.log" 2>&1 </dev/null &
  running[$!]=$1
}

# stop_steps: asks every running group to end, waits until each is gone, and ends it by force after ten seconds.
stop_steps() {
  local group deadline=$((SECONDS + 10))
  for group in "${!running[@]}"; do kill -TERM -- "-$group" 2>/dev/null || true; done
  for group in "${!running[@]}"; do
    while kill -0 -- "-$group" 2>/dev/null; do
      if ((SECONDS >= deadline)); then kill -KILL -- "-$group" 2>/dev/null || true; fi
      sleep 0.1
    done
  done
  running=()
}

# start_possible: starts waiting steps while fewer than two run. What a step needs at any remove has to be over: a need
# that is done already does not speak for its own needs. Reads and writes `waiting`.
start_possible() {
  local step need left=() free
  for step in "${waiting[@]}"; do
    free=yes
    for need in $(with_needs "$step"); do
      [[ $need == "$step" || " ${waiting[*]} ${running[*]} " != *" $need "* ]] || free=no
    done
    if [[ $free == yes ]] && ((${#running[@]} < 2)); then
      start_step "$step"
    else
      left+=("$step")
    fi
  done
  waiting=("${left[@]}")
}

# run_steps STEP…: returns 0 when all are done, otherwise what the first failed step returned.
run_steps() {
  local waiting=("$@") ended='' code step tick
  while ((${#waiting[@]} + ${#running[@]} > 0)); do
    start_possible
    tick=''
    if [[ $watched == yes ]]; then
      sleep 0.5 &
      tick=$!
    fi
    code=0
    wait -n -p ended "${!running[@]}" ${tick:+"$tick"} || code=$?
    if [[ -n $tick && $ended != "$tick" ]]; then kill "$tick" 2>/dev/null || true; fi
    step=${running[$ended]:-}
    if [[ -z $step ]]; then
      report_progress "${running[@]}"
      continue
    fi
    unset "running[$ended]"
    if ((code != 0)); then
      report_failure "$step"
      stop_steps
      return "$code"
    fi
    report_end "$step"
  done
}
