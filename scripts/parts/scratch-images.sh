# shellcheck shell=bash
# The images that variants are made of: nothing but the executables, as the tools' own releases publish them. The
# executables are the static ones of the tools' wheels on PyPI.

uv_versions=(0.9.26 0.9.27)
ruff_versions=(0.14.14)

need_for_scratch_images() {
  need jq=jq curl=curl python3=python3
  python3 -m pip --version >/dev/null 2>&1 || need python3-pip
}

make_scratch_images() {
  local version pids=()
  for version in "${uv_versions[@]}"; do make_uv "$version" & pids+=($!); done
  for version in "${ruff_versions[@]}"; do make_ruff "$version" & pids+=($!); done
  all_of "${pids[@]}"
}

make_uv() { make_scratch_image uv "$1" musllinux_1_1 'An extremely fast Python package and project manager.' uv uvx; }
make_ruff() { make_scratch_image ruff "$1" musllinux_1_2 'An extremely fast Python linter and code formatter.' ruff; }

# push_scratch_images REGISTRY [CURL-OPTION...]: pushes them as REGISTRY/astral-sh/uv:0.9.26 and so on.
push_scratch_images() {
  local version
  for version in "${uv_versions[@]}"; do push_layout "$oci_layouts/uv-$version" "$@"; done
  for version in "${ruff_versions[@]}"; do push_layout "$oci_layouts/ruff-$version" "$@"; done
}

# make_scratch_image TOOL VERSION WHEEL-PLATFORM DESCRIPTION EXECUTABLE...
make_scratch_image() {
  wheel "$1" "$2" "$3_x86_64"
  wheel "$1" "$2" "$3_aarch64"
  layout "$1-$2" scratch_image "$@"
}

scratch_image() {
  local tool=$1 version=$2 wheels=$3 description=$4 target=${!#} config architecture entries=()
  local executables=("${@:5:$#-5}")
  local -A machines=([amd64]=x86_64 [arm64]=aarch64)
  mkdir -p "$target/root" "$target/workdir/io"
  config=$(jq -nc --arg tool "$tool" --arg version "$version" --arg description "$description" --arg created "$image_created" '{
    Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    Entrypoint: ["/\($tool)"], WorkingDir: "/io", Labels: {
      "org.opencontainers.image.created": $created, "org.opencontainers.image.description": $description,
      "org.opencontainers.image.licenses": "Apache-2.0", "org.opencontainers.image.title": $tool,
      "org.opencontainers.image.source": "https://github.com/astral-sh/\($tool)",
      "org.opencontainers.image.url": "https://github.com/astral-sh/\($tool)",
      "org.opencontainers.image.version": $version}}')
  pack_layer "$target/workdir-layer" "$target/workdir"
  for architecture in amd64 arm64; do
    install -m 755 "${executables[@]/#/$cache/wheels/$tool-$version-${wheels}_${machines[$architecture]}/$tool-$version.data/scripts/}" "$target/root"
    pack_layer "$target/layer" "$target/root" "${executables[@]}"
    entries+=("$(image "$target" oci "{\"architecture\":\"$architecture\",\"os\":\"linux\"}" "$config" "$target/layer" "$target/workdir-layer")")
    entries+=("$(attestation "$target" "${entries[-1]}")")
    rm "$target"/layer.*
  done
  rm -r "$target"/{root,workdir,workdir-layer.*}
  index "$target" oci "astral-sh/$tool" "$version" "${entries[@]}"
}
