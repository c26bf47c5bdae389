# shellcheck shell=bash
# Everything beside this file, for the scripts that run it.

parts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for part in cache packages processes emulation layers oci-layout debian-trees bases scratch-images go-tools engines registries github; do
  # shellcheck source=/dev/null
  source "$parts/$part.sh"
done
