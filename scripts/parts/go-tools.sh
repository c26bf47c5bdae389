# shellcheck shell=bash
# What has no Debian package of the version we want: built by Go from the modules in tests/tools, which pin everything.

go_modules=$(cd "${BASH_SOURCE[0]%/*}/../../tests/tools" && pwd)

# What is built of each module. Its go.mod also pins what only people use: `go -C tests/tools/images tool oras`.
declare -A go_tools=(
  [engine]='github.com/moby/moby/v2/cmd/dockerd github.com/containerd/containerd/v2/cmd/containerd
    github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2 github.com/opencontainers/runc'
  [images]='github.com/google/go-containerregistry/cmd/crane github.com/docker/buildx/cmd/buildx
    github.com/distribution/distribution/v3/cmd/registry'
  [workflows]='github.com/nektos/act github.com/rhysd/actionlint/cmd/actionlint'
)

# go_bin MODULE: prints the folder of the executables.
go_bin() { echo "$cache/go/$1-$(recipe "$go_modules/$1"/go.{mod,sum} "$go_modules/../../scripts/parts/go-tools.sh")"; }

# go_can_build MODULE: whether there is a Go that is new enough. We don't let it fetch another.
go_can_build() { command -v go >/dev/null && (cd "$go_modules/$1" && GOTOOLCHAIN=local go list -m >/dev/null 2>&1); }

# build_go_tools MODULE: makes that folder.
build_go_tools() {
  local folder
  folder=$(go_bin "$1")
  cached "${folder#"$cache/"}" compile_go_tools "$1"
}

compile_go_tools() {
  local module=$1 target=$2 package options packages
  mkdir "$target"
  cd "$go_modules/$module"
  export GOTOOLCHAIN=local GOFLAGS=-buildvcs=false
  for package in ${go_tools[$module]}; do
    activity "${target##*/}" "fetching what ${package##*/} is made of"
    read -ra options <<<"$(go_options "$package")"
    packages=$(go list -deps "${options[@]}" "$package" | wc -l)
    # What another of them was made of is there already and isn't built again.
    go build -v -trimpath -o "$target/" "${options[@]}" "$package" 2>&1 |
      note_go_progress "${target##*/}" "building ${package##*/}" "$packages"
  done
}

# note_go_progress ACTIVITY WHAT PACKAGES: Go prints a line for each package that it builds.
note_go_progress() {
  local line count=0
  while IFS= read -r line; do
    echo "$line"
    count=$((count + 1))
    activity "$1" "$2: $count of up to $3 packages"
  done
}

go_options() {
  case $1 in
    # An engine built without a version says `library-import`, which isn't one.
    */dockerd) echo -tags=exclude_graphdriver_btrfs,no_libnftables -ldflags=-X=github.com/moby/moby/v2/dockerversion.Version=29.0.0 ;;
    */runc) echo -tags=seccomp ;;
  esac
}
