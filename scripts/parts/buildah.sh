# shellcheck shell=bash
# Debian's Buildah, unpacked: it only reads images in tests. Its libraries and its policy come with skopeo and the engines.

buildah_package=buildah
buildah_bin=$(unpacked_packages "$buildah_package")/usr/bin/buildah

unpack_buildah() { unpack_packages "$buildah_package"; }
