# shellcheck shell=bash
# What has no Debian package of the version we want: built by Go from the modules in tests/tools, which pin everything.

go_modules=$(cd "${BASH_SOURCE[0]%/*}/../../tests/tools" && pwd)

# What is built of each module. Its go.mod also pins what only people use: `go -C tests/tools/images tool oras`. The
# registry is a command of ours, without upstream's storage in clouds.
declare -A go_tools=(
  [engine]='github.com/moby/moby/v2/cmd/dockerd github.com/containerd/containerd/v2/cmd/containerd
    github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2 github.com/opencontainers/runc'
  [images]='github.com/google/go-containerregistry/cmd/crane github.com/docker/buildx/cmd/buildx ./registry'
  [workflows]='github.com/nektos/act github.com/rhysd/actionlint/cmd/actionlint'
)

# What these programs contain and no test runs. It compiles in two thirds of the time if it isn't optimised.
go_ballast=(cloud.google.com github.com/Azure github.com/aws github.com/cloudflare/cfssl github.com/go-openapi
  github.com/moby/swarmkit github.com/open-policy-agent github.com/sigstore github.com/tetratelabs github.com/zmap
  google.golang.org/api k8s.io)

# go_bin MODULE: prints the folder of the executables.
go_bin() {
  local sources
  readarray -t sources < <(find "$go_modules/$1" -type f | sort)
  echo "$cache/go/$1-$(recipe "${sources[@]}" "$go_modules/../../scripts/parts/go-tools.sh")"
}

# go_can_build MODULE: whether there is a Go that is new enough. We don't let it fetch another.
go_can_build() { command -v go >/dev/null && (cd "$go_modules/$1" && GOTOOLCHAIN=local go list -m >/dev/null 2>&1); }

# build_go_tools MODULE: makes that folder.
build_go_tools() {
  local folder
  folder=$(go_bin "$1")
  cached "${folder#"$cache/"}" compile_go_tools "$1"
}

compile_go_tools() {
  local module=$1 target=$2 package options packages ballast
  mkdir "$target"
  cd "$go_modules/$module"
  export GOTOOLCHAIN=local GOFLAGS=-buildvcs=false
  ballast=("${go_ballast[@]/%//...=-N -l}")
  for package in ${go_tools[$module]}; do
    activity "${target##*/}" "fetching what ${package##*/} is made of"
    read -ra options <<<"$(go_options "$package")"
    packages=$(go list -deps "${options[@]}" "$package" | wc -l)
    options+=("${ballast[@]/#/-gcflags=}")
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
    # Without Kubernetes, and without what else dockerd doesn't use.
    */containerd) echo -tags=no_btrfs,no_cri,no_devmapper,no_tracing,no_zfs ;;
    # An engine built without a version says `library-import`, which isn't one.
    */dockerd) echo -tags=exclude_graphdriver_btrfs,no_libnftables -ldflags=-X=github.com/moby/moby/v2/dockerversion.Version=29.0.0 ;;
    */runc) echo -tags=seccomp ;;
  esac
}
