# shellcheck shell=bash
# The project's own programs. The demonstration and the tests share one build, in the profile that tests have: what hashes
# and compresses is optimised there, too (Cargo.toml).

target=${CARGO_TARGET_DIR:-$PWD/target}
programs=$target/debug

need_for_programs() { need cc=gcc libc6-dev ca-certificates; }

# build_programs: with `--workspace`, for then a crate has the same features as in `cargo test --workspace`, and isn't built twice.
build_programs() { telling_cargo "compiling" build --workspace --bins; }

# telling_cargo WHAT ARGUMENT...: runs cargo. How far it is goes to `activity`; lines that only name a crate are left out.
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

# Lines of cargo's that say no more than how far it is.
cargo_says='^ *(Updating|Locking|Adding|Fetch|Downloading|Downloaded|Compiling|Checking|Blocking|Finished|Executable) '

# note_progress WHAT: cargo ends each state of its progress bar by a carriage return, as in `Building [==>  ] 12/353: ring`.
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
