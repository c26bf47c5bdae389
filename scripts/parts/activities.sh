# shellcheck shell=bash
# The activities in progress: a file for each, with a line about its progress. Many of them run in parallel for minutes,
# so all of them are reported on one line every now and then, with those of the script that called this one.

export PUBLISH_VARIANTS_ACTIVITIES=${PUBLISH_VARIANTS_ACTIVITIES:-$cache/.making/activities.$$}
activities=$PUBLISH_VARIANTS_ACTIVITIES
told_every=20

# activity NAME TEXT: records the progress of an activity.
activity() { { mkdir -p "$activities" && printf '%s\n' "$2" >"$activities/$1"; } 2>/dev/null || true; }
activity_over() {
  rm -f "$activities/$1"
  rmdir "$activities" 2>/dev/null || true
}

# telling_all_of PID...: like `all_of`, and reports the activities in progress every 20 seconds. Another process reports
# them: if this one started children while it waits, one of them could get the number of an earlier child, whose exit
# code bash then forgets.
telling_all_of() {
  local reporter status=0
  tell_of_activities &
  reporter=$!
  all_of "$@" || status=1
  { kill "$reporter" && wait "$reporter"; } 2>/dev/null || true
  # Only the script that they are named after: another one may be in the middle of something.
  if [[ $activities == *."$$" ]]; then rm -rf "$activities"; fi
  return $status
}

# tell_of_activities: reports until it is killed, or the script has ended. It waits without a child, which would outlive
# it and keep the script's output open.
tell_of_activities() {
  local never started=$SECONDS next=$((SECONDS + told_every))
  exec {never}<> <(:)
  while kill -0 $$ 2>/dev/null; do
    read -rt 1 -u "$never" || true
    if ((SECONDS < next)); then continue; fi
    tell_activities $((SECONDS - started))
    next=$((SECONDS + told_every))
  done
}

tell_activities() {
  local file text=
  for file in "$activities"/*; do
    if [[ -e $file ]]; then text+="${text:+; }$(<"$file")"; fi
  done 2>/dev/null
  say "after $(minutes "$1"): ${text:-nearly done}"
}

# minutes SECONDS: prints a duration for people.
minutes() { if (($1 < 60)); then echo "$1 s"; else echo "$(($1 / 60)) min $(($1 % 60)) s"; fi; }
