# shellcheck shell=bash
# Runs the action's binary like GitHub's runner.
# https://docs.github.com/en/actions/reference/workflows-and-actions/metadata-syntax#inputs

# action_inputs FILE: prints the inputs in action.yml, each with its default, separated by a tab.
action_inputs() {
  awk '
    /^[a-z]/ { inside = /^inputs:/ }
    !inside { next }
    /^  [a-z][a-z-]*:/ { if (name) print name "\t" value; name = $1; sub(/:$/, "", name); value = "" }
    /^    default:/ { value = $0; sub(/^    default: */, "", value); gsub(/^["\047]|["\047]$/, "", value) }
    END { if (name) print name "\t" value }' "$1"
}

# input_variables: prints INPUT_NAME=VALUE for every input of action.yml, each ended by a zero byte, with the name in
# upper case and with its hyphens. The value is the one in the array `inputs`, else the default, else empty.
input_variables() {
  local name default
  local -A declared=()
  while IFS=$'\t' read -r name default; do
    declared[$name]=yes
    printf 'INPUT_%s=%s\0' "${name^^}" "${inputs[$name]-$default}"
  done < <(action_inputs action.yml)
  for name in "${!inputs[@]}"; do
    [[ ${declared[$name]-} ]] || fail "action.yml has no input \`$name\`"
  done
}

# run_action FOLDER VARIABLE=VALUE...: runs the action with nothing else in its environment. Its files are in the
# folder.
run_action() {
  local folder=$1 variables=()
  shift
  mkdir -p "$folder"/{home,temp,workspace}
  : >"$folder/output"
  : >"$folder/summary.md"
  mapfile -d '' variables < <(input_variables)
  wait $! || exit # it has said why
  env -i "PATH=$PATH" "HOME=$folder/home" CI=true GITHUB_ACTIONS=true RUNNER_OS=Linux RUNNER_ARCH=X64 \
    "RUNNER_TEMP=$folder/temp" "GITHUB_WORKSPACE=$folder/workspace" "GITHUB_OUTPUT=$folder/output" \
    "GITHUB_STEP_SUMMARY=$folder/summary.md" "GITHUB_EVENT_PATH=$folder/event.json" \
    GITHUB_SERVER_URL=https://github.com "${variables[@]}" "$@" "$programs/publish-variants"
}
