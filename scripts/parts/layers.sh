# shellcheck shell=bash
# Makes a layer of files: NAME.tar.gz and NAME.diff-id. Equal files give equal bytes.

# Newest time that a file in a layer may have, and when all these images say they were created.
image_epoch=1768435200
image_created=2026-01-15T00:00:00Z

# pack_layer NAME FOLDER [PATH...]: makes the layer NAME of the files below FOLDER.
pack_layer() {
  local name=$1 folder=$2
  shift 2
  if (($# == 0)); then set -- .; fi
  (cd "$folder" && tar --create --sort=name --numeric-owner --format=posix \
    --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime \
    --mtime="@$image_epoch" --clamp-mtime --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' "$@") >"$name.tar"
  sha256 "$name.tar" >"$name.diff-id"
  gzip -n1 "$name.tar"
}

sha256() { echo "sha256:$(sha256sum <"$1" | cut -d ' ' -f 1)"; }
