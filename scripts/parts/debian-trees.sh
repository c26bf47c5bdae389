# shellcheck shell=bash
# Root file systems of Debian, by debootstrap: a layer with the minimal system, a layer with its Python on top.
#
# For the machine's own architecture the system is configured as it would be on a disk. For arm64 it is unpacked only,
# which needs no emulation, and gets the accounts that its packages would have made.

debian_recipe=$(recipe "${BASH_SOURCE[0]}" "${BASH_SOURCE[0]%/*}/layers.sh")

need_for_debian_trees() { need debootstrap=debootstrap jq=jq curl=curl; }

# debian_tree SUITE ARCHITECTURE: prints its folder: base and python (layers), python-version, busybox.
debian_tree() { echo "$cache/debian/$1-$2-$debian_recipe"; }

# make_debian_trees SUITE...: for both architectures.
make_debian_trees() {
  local suite architecture pids=()
  for suite in "$@"; do
    for architecture in amd64 arm64; do
      cached "debian/$suite-$architecture-$debian_recipe" bootstrap "$suite" "$architecture" &
      pids+=($!)
    done
  done
  all_of "${pids[@]}"
}

bootstrap() {
  local suite=$1 architecture=$2 target=$3 tree=$3/tree python=$3/python-tree
  mkdir -p "$tree" "$python"
  debootstrap --foreign --variant=minbase --include=python3-minimal,busybox-static \
    --arch="$architecture" "$suite" "$tree" http://deb.debian.org/debian
  take_included_packages "$tree" "$python" "$target/busybox"
  if native "$architecture"; then configure "$tree"; else unpack "$tree"; fi
  strip_tree "$tree"
  strip_tree "$python"
  pack_layer "$target/base" "$tree"
  pack_layer "$target/python" "$python" ./usr
  cp -a "$python/usr" "$tree/"
  if native "$architecture" || emulated; then chroot "$tree" /usr/local/bin/python --version; fi
  discard "$tree"
  discard "$python"
}

native() { [[ $1 == "$(dpkg --print-architecture)" ]]; }

# take_included_packages TREE PYTHON BUSYBOX: moves what --include brought out of what debootstrap would install.
take_included_packages() {
  local tree=$1 python=$2 name deb
  # Where a directory of the system is a symbolic link by now, a layer must not make it a directory again.
  mkdir -p "$python/usr/lib" "$python/usr/local/bin"
  ln -s usr/lib "$python/lib"
  for name in $(<"$tree/debootstrap/base"); do
    deb=$tree$(sed -n "s/^$name //p" "$tree/debootstrap/debpaths")
    case $name in
      busybox-static)
        dpkg-deb --fsys-tarfile "$deb" | tar -xO --wildcards '*/bin/busybox' >"$3"
        chmod 755 "$3"
        ;;
      *) dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink -C "$python" ;;
    esac
    if [[ $name == python3.*-minimal ]]; then
      dpkg-deb --field "$deb" Version | sed 's/-.*//' >"$python/../python-version"
      ln -s "/usr/bin/${name%-minimal}" "$python/usr/local/bin/python3"
    fi
    rm "$deb"
  done
  ln -s python3 "$python/usr/local/bin/python"
  : >"$tree/debootstrap/base"
}

configure() { SOURCE_DATE_EPOCH=$image_epoch chroot "$1" /debootstrap/debootstrap --second-stage; }

unpack() {
  local tree=$1 deb
  for deb in "$tree"/var/cache/apt/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink -C "$tree"
  done
  cp "$tree/usr/share/base-passwd/passwd.master" "$tree/etc/passwd"
  cp "$tree/usr/share/base-passwd/group.master" "$tree/etc/group"
}

# strip_tree TREE: removes what differs from one making to the next, and what slim images leave out.
strip_tree() {
  unmount_below "$1"
  rm -rf "$1"/{debootstrap,var/cache/{apt,debconf,ldconfig}/*,var/lib/apt/lists/*,etc/{machine-id,hostname,resolv.conf},etc/*-} \
    "$1"/var/{log/*,lib/dpkg/*-old} "$1"/usr/share/{doc,man,info,locale,lintian}/*
}
