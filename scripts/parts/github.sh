# shellcheck shell=bash
# GitHub's own descriptions of itself, from npm: the REST API that the stand-in keeps to, and recorded events.

openapi_version=23.0.2
webhook_examples_version=7.6.1
github_openapi=$cache/npm/@octokit/openapi-$openapi_version/generated/api.github.com.json
webhook_examples=$cache/npm/@octokit/webhooks-examples-$webhook_examples_version/api.github.com/index.json

fetch_github_descriptions() {
  npm_package @octokit/openapi "$openapi_version"
  npm_package @octokit/webhooks-examples "$webhook_examples_version"
}
