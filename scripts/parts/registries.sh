# shellcheck shell=bash
# Registries on loopback: Debian's build of CNCF distribution 2, and version 3 if Go is there to build it.

# The package is only unpacked: installing it would start a registry on every interface.
registry_package=docker-registry
registry_bin=$(unpacked_packages "$registry_package")/usr/bin/docker-registry

need_for_registry() { need curl=curl htpasswd=apache2-utils; }
unpack_registry() { unpack_packages "$registry_package"; }

# start_registry FOLDER PORT [USER PASSWORD]: starts a registry with its storage in the folder, on 127.0.0.1:PORT,
# unless it is running.
start_registry() {
  local folder=$1 port=$2 user=${3-} password=${4-}
  if running "$folder/registry.pid"; then return; fi
  mkdir -p "$folder/storage"
  {
    printf '%s\n' 'version: 0.1' 'log: { level: warn, accesslog: { disabled: true } }' \
      "storage: { filesystem: { rootdirectory: '$folder/storage' }, delete: { enabled: true } }" \
      "http: { addr: '127.0.0.1:$port' }"
    if [[ $user ]]; then
      printf '%s\n' "auth: { htpasswd: { realm: registry, path: '$folder/htpasswd' } }"
      htpasswd -iBn "$user" <<<"$password" 2>/dev/null >"$folder/htpasswd"
    fi
  } >"$folder/config.yml"
  start "$folder/registry.pid" "$folder/registry.log" "$registry_bin" serve "$folder/config.yml"
  within 10 answers "http://127.0.0.1:$port/v2/" || fail "the registry on port $port doesn't answer; see $folder/registry.log"
}

# answers URL: whether there is any answer, even a refusal.
answers() { curl -s -o /dev/null "$1"; }
