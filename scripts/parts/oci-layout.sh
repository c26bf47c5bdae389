# shellcheck shell=bash
# Writes images as OCI image layouts, and pushes them.
# https://github.com/opencontainers/image-spec/blob/main/image-layout.md

declare -A oci=(
  [config]=application/vnd.oci.image.config.v1+json
  [layer]=application/vnd.oci.image.layer.v1.tar+gzip
  [manifest]=application/vnd.oci.image.manifest.v1+json
  [index]=application/vnd.oci.image.index.v1+json
)
declare -A docker=(
  [config]=application/vnd.docker.container.image.v1+json
  [layer]=application/vnd.docker.image.rootfs.diff.tar.gzip
  [manifest]=application/vnd.docker.distribution.manifest.v2+json
  [index]=application/vnd.docker.distribution.manifest.list.v2+json
)

# descriptor LAYOUT MEDIA-TYPE FILE: moves the file among the layout's blobs and prints its descriptor.
descriptor() {
  local digest
  digest=$(sha256 "$3")
  chmod 644 "$3"
  jq -nc --arg type "$2" --arg digest "$digest" --argjson size "$(stat -c %s "$3")" \
    '{mediaType: $type, digest: $digest, size: $size}'
  mkdir -p "$1/blobs/sha256"
  mv "$3" "$1/blobs/sha256/${digest#sha256:}"
}

# image LAYOUT TYPES PLATFORM CONFIG LAYER...: adds an image and prints its entry for the index. TYPES is `oci` or
# `docker`; PLATFORM is JSON, CONFIG the JSON of the config's `config`.
image() {
  local layout=$1 platform=$3 config=$4 layers='[]' diff_ids='[]' layer
  local -n types=$2
  shift 4
  for layer in "$@"; do
    cp "$layer.tar.gz" "$layout/copy"
    layers=$(jq -c --argjson layer "$(descriptor "$layout" "${types[layer]}" "$layout/copy")" '. + [$layer]' <<<"$layers")
    diff_ids=$(jq -c --arg id "$(<"$layer.diff-id")" '. + [$id]' <<<"$diff_ids")
  done
  jq -nc --argjson platform "$platform" --argjson config "$config" --argjson ids "$diff_ids" --arg created "$image_created" \
    '$platform + {config: $config, created: $created,
      history: [$ids | to_entries[] | {created: $created, created_by: "layer \(.key + 1)"}],
      rootfs: {type: "layers", diff_ids: $ids}}' >"$layout/config"
  jq -nc --argjson config "$(descriptor "$layout" "${types[config]}" "$layout/config")" --argjson layers "$layers" \
    --arg type "${types[manifest]}" '{schemaVersion: 2, mediaType: $type, config: $config, layers: $layers}' >"$layout/manifest"
  descriptor "$layout" "${types[manifest]}" "$layout/manifest" | jq -c --argjson platform "$platform" '. + {platform: $platform}'
}

# attestation LAYOUT ENTRY: adds what BuildKit puts beside an image: a manifest for no platform at all.
attestation() {
  local digest layer config
  digest=$(jq -r .digest <<<"$2")
  jq -nc --arg digest "${digest#sha256:}" '{_type: "https://in-toto.io/Statement/v0.1",
    predicateType: "https://slsa.dev/provenance/v0.2", subject: [{name: "_", digest: {sha256: $digest}}], predicate: {}}' >"$1/layer"
  jq -nc --arg id "$(sha256 "$1/layer")" \
    '{architecture: "unknown", os: "unknown", config: {}, rootfs: {type: "layers", diff_ids: [$id]}}' >"$1/config"
  layer=$(descriptor "$1" application/vnd.in-toto+json "$1/layer")
  config=$(descriptor "$1" "${oci[config]}" "$1/config")
  jq -nc --arg type "${oci[manifest]}" --argjson config "$config" --argjson layer "$layer" \
    '{schemaVersion: 2, mediaType: $type, config: $config, layers: [$layer]}' >"$1/manifest"
  descriptor "$1" "${oci[manifest]}" "$1/manifest" | jq -c --arg digest "$digest" '. + {
    annotations: {"vnd.docker.reference.digest": $digest, "vnd.docker.reference.type": "attestation-manifest"},
    platform: {architecture: "unknown", os: "unknown"}}'
}

# index LAYOUT TYPES REPOSITORY TAG ENTRY...: completes the layout with the index of the entries.
index() {
  local layout=$1 repository=$3 tag=$4
  local -n kinds=$2
  shift 4
  printf '%s\n' "$@" | jq -sc --arg type "${kinds[index]}" '{schemaVersion: 2, mediaType: $type, manifests: .}' >"$layout/index"
  descriptor "$layout" "${kinds[index]}" "$layout/index" | jq -c --arg repository "$repository" --arg tag "$tag" --arg type "${oci[index]}" '
    {schemaVersion: 2, mediaType: $type, manifests: [. + {annotations: {
      "io.containerd.image.name": "\($repository):\($tag)", "org.opencontainers.image.ref.name": $tag}}]}' >"$layout/index.json"
  echo '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
}

# push_layout LAYOUT REGISTRY [CURL-OPTION...]: pushes the layout's image under the repository and tag it names.
push_layout() {
  local layout=$1 registry=$2 name repository tag index manifest blob
  shift 2
  name=$(jq -r '.manifests[0].annotations["io.containerd.image.name"]' "$layout/index.json")
  repository=${name%:*} tag=${name##*:}
  index=$(jq -r '.manifests[0].digest' "$layout/index.json")
  for manifest in $(jq -r '.manifests[].digest' "$(blob_file "$layout" "$index")"); do
    for blob in $(jq -r '.config.digest, .layers[].digest' "$(blob_file "$layout" "$manifest")"); do
      push_blob "$layout" "$blob" "http://$registry/v2/$repository" "$@"
    done
    push_manifest "$layout" "$manifest" "http://$registry/v2/$repository/manifests/$manifest" "$@"
  done
  push_manifest "$layout" "$index" "http://$registry/v2/$repository/manifests/$tag" "$@"
}

blob_file() { echo "$1/blobs/sha256/${2#sha256:}"; }

push_blob() {
  local layout=$1 digest=$2 repository=$3 location separator='?'
  shift 3
  if curl -sSf --head -o /dev/null "$@" "$repository/blobs/$digest" 2>/dev/null; then return; fi
  location=$(curl -sSf -X POST -o /dev/null -w '%header{location}' "$@" "$repository/blobs/uploads/")
  if [[ $location == *\?* ]]; then separator='&'; fi
  curl -sSf -o /dev/null -T "$(blob_file "$layout" "$digest")" -H 'Content-Type: application/octet-stream' \
    "$@" "$location${separator}digest=$digest"
}

push_manifest() {
  local file
  file=$(blob_file "$1" "$2")
  curl -sSf -o /dev/null -X PUT -T "$file" -H "Content-Type: $(jq -r .mediaType "$file")" "${@:4}" "$3"
}
