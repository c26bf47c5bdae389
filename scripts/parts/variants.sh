# shellcheck shell=bash
# The matrix that the demonstration and the measurements publish.

# variants REGISTRY: on the bases as push_bases has named them there.
variants() {
  cat <<EOF
defaults:
  env: { UV_TOOL_BIN_DIR: /usr/local/bin }
variants:
  - base: $1/library/alpine:3.23
    tags: [alpine3.23, alpine]
  - base: $1/library/debian:bookworm-slim
    tags: [bookworm-slim, debian-slim]
  - for: { python: ["3.11"] }
    base: $1/library/python:{python}-slim-bookworm
    tags: ["python{python}-bookworm-slim"]
  - for: { python: ["3.13"] }
    base: $1/library/python:{python}-slim-trixie
    tags: ["python{python}-trixie-slim"]
EOF
}
