# shellcheck shell=bash
# Sources all other files of this folder, for scripts to run.

parts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for part in cache activities packages processes emulation layers oci-layout debian-trees bases scratch-images go-tools engines registries buildah setup programs github action variants total; do
  # shellcheck source=/dev/null
  source "$parts/$part.sh"
done

# default_state: prints the folder for everything that runs for the tests of this checkout.
default_state() { echo "${TMPDIR:-/tmp}/publish-variants-$(recipe <(echo "$parts"))"; }
