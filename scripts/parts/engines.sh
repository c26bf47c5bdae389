# shellcheck shell=bash
# Docker Engines of our own: `classic` is Debian's (20.10, classic image store), `containerd` is a current one (29,
# containerd image store). Each has its own socket, bridge, data and containerd, so that nothing of the machine's is
# touched. Leftovers of an engine that was killed are removed before the next start.

classic_packages=(docker.io containerd runc tini)
classic_root=$(unpacked_packages "${classic_packages[@]}")
docker_cli=$classic_root/usr/bin/docker

need_for_classic_engine() { need libdevmapper1.02.1 libseccomp2 libsystemd0 iptables=iptables ip=iproute2 jq=jq curl=curl; }
unpack_classic_engine() { unpack_packages "${classic_packages[@]}"; }

# The other engine is built by Go, which needs these libraries.
need_for_containerd_engine() { need gcc=gcc pkg-config=pkg-config libc6-dev libseccomp-dev; }

# Running engines have short names below /run, because the address of a socket is limited to 107 characters.
engine_run() { echo "/run/publish-variants/$(recipe <(echo "$1"))"; }

# engine_socket STATE NAME
engine_socket() { echo "$(engine_run "$1")/$2.sock"; }

# start_engine STATE NAME: starts the engine with its data in STATE/NAME, unless it is running.
start_engine() {
  local state=$1 name=$2 run path
  run=$(engine_run "$state")
  if running "$run/$name.pid" && engine_answers "$run/$name.sock"; then return; fi
  sweep_engine "$state" "$name"
  mkdir -p "$run" "$state/$name"
  allow_control_groups_below
  add_bridge "$(bridge_name "$state" "$name")"
  engine_config "$state" "$name" >"$state/$name/daemon.json"
  path=$classic_root/usr/sbin:$classic_root/usr/bin
  if [[ $name == containerd ]]; then path=$(go_bin engine):$path; fi
  start "$run/$name.pid" "$state/$name/engine.log" \
    env "PATH=$path:$PATH" "$parts/keep-running" "$run/$name/containerd/containerd.pid" \
    dockerd --config-file "$state/$name/daemon.json"
  within 60 engine_answers "$run/$name.sock" || fail "the engine $name doesn't answer; see $state/$name/engine.log"
}

# allow_control_groups_below: in a container with control groups of version 2, an engine can make groups for its own containers
# only when no process is left in the group above them.
# https://docs.kernel.org/admin-guide/cgroup-v2.html#no-internal-process-constraint
allow_control_groups_below() {
  local groups=/sys/fs/cgroup pid
  # Only the kernel's own root group has no type, and it may contain processes.
  if [[ ! -e $groups/cgroup.controllers || ! -e $groups/cgroup.type ]]; then return; fi
  mkdir -p "$groups/init"
  for pid in $(<"$groups/cgroup.procs"); do echo "$pid" >"$groups/init/cgroup.procs" 2>/dev/null || true; done
  sed -e 's/ / +/g' -e 's/^/+/' "$groups/cgroup.controllers" >"$groups/cgroup.subtree_control" ||
    warn "this container can't make control groups; engines may not start"
}

# tell_if_engine_died STATE NAME
tell_if_engine_died() {
  local log=$1/$2/engine.log times
  if [[ ! -e $log ]] || ! times=$(grep -c '^keep-running: ' "$log"); then return; fi
  warn "the engine $2 has died $times times; its last words, the first time:"
  { grep -m 1 -A 40 -E '^(panic|fatal error|SIG[A-Z]+):' "$log" || grep -m 1 -B 40 '^keep-running: ' "$log"; } >&2
}

engine_answers() { [[ $(curl -s --unix-socket "$1" http://engine/_ping) == OK ]]; }

# engine_config STATE NAME: writes the engine's config file, without which it would read the machine's
# /etc/docker/daemon.json. Registries on the bridges of add_bridge have no TLS.
engine_config() {
  local run
  run=$(engine_run "$1")
  jq -n --arg run "$run" --arg data "$1/$2/data" --arg name "$2" --arg bridge "$(bridge_name "$1" "$2")" \
    --arg overlay "$(overlay_works "$1/$2" && echo yes)" '{
      hosts: ["unix://\($run)/\($name).sock"], pidfile: "\($run)/\($name).docker.pid",
      "exec-root": "\($run)/\($name)", "data-root": $data, bridge: $bridge, "shutdown-timeout": 5,
      iptables: false, "ip-forward": false, "ip-masq": false, "insecure-registries": ["172.30.64.0/18"], features: {"containerd-snapshotter": ($name == "containerd")},
      "storage-driver": (if $name == "containerd" then (if $overlay == "yes" then "overlayfs" else "native" end)
                         else (if $overlay == "yes" then "overlay2" else "vfs" end) end)}
    | if $name == "classic" then del(.features) else . end'
}

# overlay_works FOLDER: whether its file system can be below an overlay, which is impossible for another overlay.
overlay_works() {
  local trial status=0
  trial=$(mktemp -d "$1/overlay.XXXXXX")
  mkdir "$trial"/{lower,upper,work,merged}
  mount -t overlay overlay -o "lowerdir=$trial/lower,upperdir=$trial/upper,workdir=$trial/work" "$trial/merged" 2>/dev/null || status=1
  discard "$trial"
  return $status
}

# stop_engine STATE NAME
stop_engine() {
  stop "$(engine_run "$1")/$2.pid" 20
  sweep_engine "$1" "$2"
}

# sweep_engine STATE NAME: ends and removes everything that a killed engine left behind, except for its data.
sweep_engine() {
  local run bridge pid
  run=$(engine_run "$1")
  bridge=$(bridge_name "$1" "$2")
  stop "$run/$2.pid" 20
  for pid in $(mentioning "dockerd --config-file $1/$2/daemon.json" keep-running dockerd) \
    $(mentioning "$run/$2/containerd/" containerd containerd-shim-runc-v2 runc) $(container_pids "$run/$2"); do
    kill -KILL "$pid" 2>/dev/null || true
  done
  unmount_below "$run/$2"
  unmount_below "$1/$2"
  rm -rf "${run:?}/$2" "$run/$2".*
  if ip link show "$bridge" >/dev/null 2>&1; then ip link delete "$bridge"; fi
  rmdir "$run" 2>/dev/null || true
}

# container_pids EXEC-ROOT: prints the first processes of the engine's containers, if they are in their container's
# control group.
container_pids() {
  local file pid
  for file in "$1"/containerd/daemon/io.containerd.runtime.v2.task/*/*/init.pid; do
    if [[ -e $file ]] && pid=$(<"$file") && grep -q "$(basename "$(dirname "$file")")" "/proc/$pid/cgroup" 2>/dev/null; then
      echo "$pid"
    fi
  done
}

# bridge_name STATE NAME: prints a name of at most 15 characters.
bridge_name() { echo "pv-$(recipe <(echo "$1/$2"))"; }

# add_bridge NAME: adds a bridge with the first unused subnet. The stack of another checkout may start at the same
# moment, and containers on two bridges with the same subnet reach nothing.
add_bridge() {
  local subnet
  exec 7>"${TMPDIR:-/tmp}/publish-variants-bridges.lock"
  flock 7
  ip link add "$1" type bridge
  for subnet in 172.30.{64..127}; do
    if ip -4 route show | grep -q "^$subnet\." || ip -4 address show | grep -q " $subnet\."; then continue; fi
    ip address add "$subnet.1/24" dev "$1"
    ip link set "$1" up
    exec 7>&-
    return
  done
  fail "no subnet is left for the bridge $1"
}
