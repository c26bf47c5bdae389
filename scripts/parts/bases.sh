# shellcheck shell=bash
# The bases under the variants, for linux/amd64 and linux/arm64, shaped as their namesakes on Docker Hub: arm64 has the
# variant v8, a Python image shares the layer of its Debian, debian has attestations, and alpine has Docker's media types.

declare -A platforms=(
  [amd64]='{"architecture":"amd64","os":"linux"}'
  [arm64]='{"architecture":"arm64","os":"linux","variant":"v8"}'
)

# An OCI layout per image, named as the image is but with `-` for `:`; remade when one of these scripts changes.
oci_layouts=$cache/layouts-$(cd "${BASH_SOURCE[0]%/*}" && recipe layers.sh oci-layout.sh debian-trees.sh bases.sh scratch-images.sh)

# layout NAME COMMAND...: makes the layout NAME.
layout() { cached "${oci_layouts#"$cache/"}/$1" "${@:2}"; }

# The bases of each suite of Debian; alpine's busybox is bookworm's.
declare -A bases=(
  [bookworm]='alpine-3.23 debian-bookworm-slim python-3.11-slim-bookworm'
  [trixie]='debian-trixie-slim python-3.13-slim-trixie'
)

# make_bases SUITE...: makes the bases of those suites; `bookworm` is one of them.
make_bases() {
  local suite pids=()
  make_debian_trees "$@"
  for suite in "$@"; do
    case $suite in
      bookworm)
        layout alpine-3.23 alpine & pids+=($!)
        layout debian-bookworm-slim debian bookworm & pids+=($!)
        layout python-3.11-slim-bookworm python 3.11 bookworm & pids+=($!)
        ;;
      trixie)
        layout debian-trixie-slim debian trixie & pids+=($!)
        layout python-3.13-slim-trixie python 3.13 trixie & pids+=($!)
        ;;
    esac
  done
  all_of "${pids[@]}"
}

# push_bases REGISTRY SUITE...: pushes them as REGISTRY/library/alpine:3.23 and so on.
push_bases() {
  local suite name
  for suite in "${@:2}"; do
    for name in ${bases[$suite]}; do push_layout "$oci_layouts/$name" "$1"; done
  done
}

debian() {
  local suite=$1 target=$2 architecture entries=()
  mkdir "$target"
  for architecture in amd64 arm64; do
    entries+=("$(image "$target" oci "${platforms[$architecture]}" \
      '{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Cmd":["bash"]}' \
      "$(debian_tree "$suite" "$architecture")/base")")
    entries+=("$(attestation "$target" "${entries[-1]}")")
  done
  index "$target" oci library/debian "$suite-slim" "${entries[@]}"
}

python() {
  local version=$1 suite=$2 target=$3 architecture tree config entries=()
  mkdir "$target"
  for architecture in amd64 arm64; do
    tree=$(debian_tree "$suite" "$architecture")
    config=$(jq -nc --arg version "$(<"$tree/python-version")" '{Cmd: ["python3"],
      Env: ["PATH=/usr/local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PYTHON_VERSION=\($version)"]}')
    entries+=("$(image "$target" oci "${platforms[$architecture]}" "$config" "$tree/base" "$tree/python")")
  done
  index "$target" oci library/python "$version-slim-$suite" "${entries[@]}"
}

alpine() {
  local target=$1 architecture root entries=()
  mkdir "$target"
  for architecture in amd64 arm64; do
    root=$target/root
    alpine_tree "$root" "$(debian_tree bookworm "$architecture")/busybox"
    pack_layer "$target/layer" "$root"
    entries+=("$(image "$target" docker "${platforms[$architecture]}" \
      '{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Cmd":["/bin/sh"],"WorkingDir":"/"}' \
      "$target/layer")")
    rm -r "$root" "$target"/layer.*
  done
  index "$target" docker library/alpine 3.23 "${entries[@]}"
}

# alpine_tree ROOT BUSYBOX: the files that tell an Alpine, around a static busybox.
alpine_tree() {
  local root=$1 applet applets
  mkdir -p "$root"/{bin,dev,etc,home,lib,mnt,opt,proc,root,run,sbin,srv,sys,usr/{bin,lib,local/bin,sbin},var/{log,tmp}}
  install -d -m 1777 "$root/tmp"
  install -m 755 "$2" "$root/bin/busybox"
  # The list is the same for every architecture, and only this one runs everywhere.
  applets=$("$(debian_tree bookworm "$(dpkg --print-architecture)")/busybox" --list)
  for applet in $applets; do
    if [[ $applet != busybox ]]; then ln -s /bin/busybox "$root/bin/$applet"; fi
  done
  echo 3.23.0 >"$root/etc/alpine-release"
  printf '%s\n' 'NAME="Alpine Linux"' ID=alpine VERSION_ID=3.23.0 'PRETTY_NAME="Alpine Linux v3.23"' >"$root/etc/os-release"
  printf '%s\n' root:x:0:0:root:/root:/bin/sh nobody:x:65534:65534:nobody:/:/sbin/nologin >"$root/etc/passwd"
  printf '%s\n' root:x:0: nobody:x:65534: >"$root/etc/group"
}
