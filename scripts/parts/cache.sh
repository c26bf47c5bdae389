# shellcheck shell=bash
# Everything that is downloaded or built once per machine. An entry is made next to its place and then renamed, so an
# entry that exists is complete. Its name contains the versions that it was made from, so another version is another
# entry.

cache=${PUBLISH_VARIANTS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/publish-variants}

say() { coloured 1 '==>' "$*"; }
warn() { coloured '1;33' '==> warning:' "$*"; }
fail() {
  coloured '1;31' error: "$*"
  exit 1
}

# coloured COLOUR HEAD TEXT: prints a line on standard error, with its head in colour at a terminal.
coloured() {
  if [[ -t 2 ]]; then printf '\e[%sm%s\e[0m %s\n' "$@" >&2; else printf '%s %s\n' "$2" "$3" >&2; fi
}

# usage: prints the usage in the script's head.
usage() {
  sed -n '2,/^[^#]/{/^#/!d;s/^# \{0,1\}//p}' "$0" >&2
  exit 2
}

# recipe FILE...: prints twelve digits that depend on the contents of the files.
recipe() { cat "$@" | sha256sum | head -c 12; }

# cached ENTRY COMMAND...: makes $cache/ENTRY by `COMMAND... TARGET`, unless it exists. Two runs at the same time make
# it once.
cached() {
  local entry=$1 flat=${1//\//-}
  shift
  if [[ -e $cache/$entry ]]; then return; fi
  mkdir -p "$cache/.making" "$cache/logs" "$(dirname "$cache/$entry")"
  (
    exec 9>"$cache/.making/$flat.lock"
    flock 9
    if [[ -e $cache/$entry ]]; then exit; fi
    make_entry "$entry" "$flat" "$@"
  )
}

make_entry() {
  local entry=$1 making=$cache/.making/$2 log=$cache/logs/$2.log started=$SECONDS status=0
  shift 2
  say "making $entry"
  discard "$making"
  activity "${making##*/}" "making $entry"
  # A shell of its own, because `set -e` has no effect in a function whose failure is checked.
  (
    set -euo pipefail
    "$@" "$making"
  ) >"$log" 2>&1 9>&- &
  wait $! || status=$?
  activity_over "${making##*/}"
  if ((status != 0)); then
    tail -n 20 "$log" >&2
    fail "$entry could not be made; all that was printed is in $log"
  fi
  mv -T "$making" "$cache/$entry"
  say "made $entry ($(minutes $((SECONDS - started))))"
}

# discard FOLDER: removes the folder, including anything that an interrupted run left mounted below it.
discard() {
  unmount_below "$1"
  rm -rf --one-file-system "$1"
}

unmount_below() {
  local mounted
  awk -v below="$1/" 'index($5 "/", below) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
    while read -r mounted; do umount --lazy "$mounted"; done
}

# all_of PID...: waits for all of the processes, and fails if any of them failed.
all_of() {
  local pid status=0
  for pid in "$@"; do wait "$pid" || status=1; done
  return $status
}
