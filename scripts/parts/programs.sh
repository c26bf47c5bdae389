# shellcheck shell=bash
# The project's own programs. The demo and the tests share one build, in the tests' profile, which optimises hashing and
# compression as well (Cargo.toml).

target=${CARGO_TARGET_DIR:-$PWD/target}
programs=$target/debug

need_for_programs() { need cc=gcc libc6-dev ca-certificates; }

# build_programs: uses `--workspace`, so that crates have the same features as in `cargo test --workspace`, and aren't
# built twice.
build_programs() { telling_cargo "compiling" build --workspace --bins; }

# telling_cargo WHAT ARGUMENT...: runs cargo. Its progress goes to `activity`, and lines that only name a crate are
# dropped.
telling_cargo() {
  local what=$1 started=$SECONDS status=0
  shift
  activity cargo "$what"
  CARGO_TERM_COLOR=never CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=80 cargo "$@" 2>&1 |
    note_progress "$what" || status=1
  activity_over cargo
  if ((status == 0)); then say "done $what ($(minutes $((SECONDS - started))))"; fi
  return $status
}

# Lines of cargo that only show progress.
cargo_says='^ *(Updating|Locking|Adding|Fetch|Downloading|Downloaded|Compiling|Checking|Blocking|Finished|Executable) '

# note_progress WHAT: records progress from cargo's output. Each state of the progress bar ends with a carriage return:
# `Building [==>  ] 12/353: ring`.
note_progress() {
  local state line
  while IFS= read -r -d $'\r' state || [[ $state ]]; do
    while IFS= read -r line; do
      line=${line//$'\e[K'/}
      if [[ $line =~ ^\ *Building\ .*\]\ +([0-9]+)/([0-9]+) ]]; then
        activity cargo "$1: ${BASH_REMATCH[1]} of ${BASH_REMATCH[2]} crates"
      elif [[ ! $line =~ $cargo_says && $line ]]; then
        printf '%s\n' "$line" >&2
      fi
    done <<<"$state"
  done
}
