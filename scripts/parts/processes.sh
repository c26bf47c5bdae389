# shellcheck shell=bash
# Background processes, each recorded in a file with its id and its start time, because an id alone may belong to
# somebody else by now.

# start FILE LOG COMMAND...: starts the command detached, without the locks that this script holds.
start() {
  local file=$1 log=$2
  shift 2
  setsid "$@" >"$log" 2>&1 </dev/null 8>&- 9>&- &
  echo "$! $(start_time $!)" >"$file"
}

# start_time PID: prints the start time, or nothing for a process that has ended, even if nobody has waited for it yet.
start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" { print $20 }'; }

# running FILE: whether the process that the file names is still that one.
running() {
  local pid started
  [[ -e $1 ]] && read -r pid started <"$1" && [[ $started && $(start_time "$pid") == "$started" ]]
}

# stop FILE [SECONDS]: ends the process, at first politely.
stop() {
  local pid
  if running "$1"; then
    read -r pid _ <"$1"
    # It may have ended since.
    kill -TERM "$pid" 2>/dev/null || true
    within "${2:-10}" gone "$1" || kill -KILL "$pid" 2>/dev/null || true
  fi
  rm -f "$1"
}

# end_with_children PID: ends a job in the background with its children, which would go on without it.
end_with_children() {
  local child children=()
  { read -ra children <"/proc/$1/task/$1/children"; } 2>/dev/null || true
  for child in "${children[@]}"; do end_with_children "$child"; done
  kill "$1" 2>/dev/null || true
}

gone() { ! running "$1"; }

# within SECONDS COMMAND...: retries the command until it succeeds.
within() {
  local until=$((SECONDS + $1))
  shift
  until "$@"; do
    if ((SECONDS >= until)); then return 1; fi
    sleep 0.1
  done
}

# mentioning TEXT PROGRAM...: prints the ids of processes with the text in their command line that run one of the
# programs, whatever name they give themselves. For bash, the program is its script.
mentioning() {
  local text=$1 process program words
  shift
  for process in /proc/[0-9]*; do
    { mapfile -d '' words <"$process/cmdline"; } 2>/dev/null || continue
    if [[ ${words[*]} != *"$text"* ]]; then continue; fi
    program=$(readlink "$process/exe") || continue
    program=${program%' (deleted)'} # the file may have been replaced since
    if [[ ${program##*/} == bash ]]; then program=${words[1]-}; fi
    if [[ " $* " == *" ${program##*/} "* ]]; then echo "${process#/proc/}"; fi
  done
}

# port FILE FIRST: prints the port that the file remembers, else FIRST, or if somebody else listens there, the next free
# port.
port() {
  local port=$2 process=${1%.port}.pid
  if [[ -e $1 ]]; then port=$(<"$1"); fi
  if ! running "$process"; then port=$(free_port "$port"); fi
  mkdir -p "$(dirname "$1")"
  echo "$port" | tee "$1"
}

free_port() {
  local port=$1
  while (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
  echo "$port"
}
