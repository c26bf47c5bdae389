# shellcheck shell=bash
# The activities in progress: a file for each, with a line about its progress. Many of them run in parallel for minutes,
# so all of them are reported on one line every now and then.

activities=$cache/.making/activities.$$
told_every=20

# activity NAME TEXT: records the progress of an activity.
activity() { { mkdir -p "$activities" && printf '%s\n' "$2" >"$activities/$1"; } 2>/dev/null || true; }
activity_over() {
  rm -f "$activities/$1"
  rmdir "$activities" 2>/dev/null || true
}

# telling_all_of PID...: like `all_of`, and reports the activities in progress every 20 seconds.
telling_all_of() {
  local pid status=0 started=$SECONDS next=$((SECONDS + told_every))
  for pid in "$@"; do
    while kill -0 "$pid" 2>/dev/null; do
      sleep 0.5
      if ((SECONDS < next)); then continue; fi
      tell_activities $((SECONDS - started))
      next=$((SECONDS + told_every))
    done
    wait "$pid" || status=1
  done
  rm -rf "$activities"
  return $status
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
