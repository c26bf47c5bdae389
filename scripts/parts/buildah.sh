# shellcheck shell=bash
# Debian's Buildah, which tests only use for reading images, so it is unpacked rather than installed. Its libraries and
# its policy come with skopeo and the engines.

buildah_package=buildah
buildah_bin=$(unpacked_packages "$buildah_package")/usr/bin/buildah

unpack_buildah() { unpack_packages "$buildah_package"; }
