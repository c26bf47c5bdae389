# shellcheck shell=bash
# The matrix that the demo and the measurements publish.

# variants REGISTRY SUITE...: prints the variants on the bases of those suites, under the names that push_bases gave
# them.
variants() {
  local suite
  cat <<EOF
defaults:
  env: { UV_TOOL_BIN_DIR: /usr/local/bin }
variants:
EOF
  for suite in "${@:2}"; do "variants_on_$suite" "$1"; done
}

variants_on_bookworm() {
  cat <<EOF
  - base: $1/library/alpine:3.23
    tags: [alpine3.23, alpine]
  - base: $1/library/debian:bookworm-slim
    tags: [bookworm-slim, debian-slim]
  - for: { python: ["3.11"] }
    base: $1/library/python:{python}-slim-bookworm
    tags: ["python{python}-bookworm-slim"]
EOF
}

variants_on_trixie() {
  cat <<EOF
  - for: { python: ["3.13"] }
    base: $1/library/python:{python}-slim-trixie
    tags: ["python{python}-trixie-slim"]
EOF
}
