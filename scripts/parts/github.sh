# shellcheck shell=bash
# GitHub's own descriptions, from npm: the REST API's, with which the stand-in is validated, and recorded events.

openapi_version=23.0.2
webhook_examples_version=7.6.1
github_openapi=$cache/npm/@octokit/openapi-$openapi_version/generated/api.github.com.json
webhook_examples=$cache/npm/@octokit/webhooks-examples-$webhook_examples_version/api.github.com/index.json

fetch_github_descriptions() {
  npm_package @octokit/openapi "$openapi_version"
  npm_package @octokit/webhooks-examples "$webhook_examples_version"
}

# start_github FOLDER PORT REPOSITORY TAG TOKEN: starts the stand-in for GitHub's API on 127.0.0.1:PORT, unless it is
# running.
start_github() {
  local folder=$1 port=$2
  if running "$folder/github.pid"; then return; fi
  mkdir -p "$folder"
  start "$folder/github.pid" "$folder/github.log" "$programs/github-stand-in" --listen "127.0.0.1:$port" \
    --repository "$3" --release "$4" --token "$5" --openapi "$github_openapi" --state "$folder/releases.json"
  within 30 answers "http://127.0.0.1:$port/" || fail "the stand-in for GitHub doesn't answer; see $folder/github.log"
}

# release_event API REPOSITORY TAG: prints the event that GitHub would send for the release, based on a recorded one.
release_event() {
  curl -sSf "$1/repos/$2/releases/tags/$3" | jq --slurpfile examples "$webhook_examples" --arg repository "$2" '
    . as $release
    | ($examples[0][] | select(.name == "release").examples | map(select(.action == "published"))[0])
    | .release = $release
    | .repository += {full_name: $repository, name: ($repository | split("/")[1]), html_url: "https://github.com/\($repository)"}
    | .repository.owner.login = ($repository | split("/")[0])'
}
