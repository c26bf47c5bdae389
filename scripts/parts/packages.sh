# shellcheck shell=bash
# Packages of Debian, PyPI and npm. Packages that tests only run are unpacked into the cache rather than installed: so
# no service is started, and an engine that the machine may already have is left alone.

export DEBIAN_FRONTEND=noninteractive
apt_updated=
missing=()

# need NAME...: records missing packages for `install_needed`. COMMAND=PACKAGE requires the package only if the command
# is missing.
need() {
  local name
  for name in "$@"; do
    if [[ $name == *=* ]]; then
      if command -v "${name%%=*}" >/dev/null; then continue; fi
      name=${name#*=}
    elif installed "$name"; then
      continue
    fi
    if [[ " ${missing[*]} " != *" $name "* ]]; then missing+=("$name"); fi
  done
}

# install_needed: installs all of them together, which takes half as long as one after another.
install_needed() {
  if ((${#missing[@]} == 0)); then return; fi
  say "installing ${missing[*]}"
  update_package_lists
  apt-get install -y --no-install-recommends "${missing[@]}" >"$cache/logs/apt-install.log" 2>&1 ||
    fail "apt-get could not install ${missing[*]}; see $cache/logs/apt-install.log"
  missing=()
}

installed() { [[ $(dpkg-query -W -f '${Status}' "$1" 2>/dev/null) == 'install ok installed' ]]; }

update_package_lists() {
  if [[ $apt_updated ]]; then return; fi
  mkdir -p "$cache/logs"
  apt-get update >"$cache/logs/apt-update.log" 2>&1 || warn "apt-get update failed; going on with the lists that are there"
  apt_updated=yes
}

# unpacked_packages NAME...: prints the folder with the unpacked Debian packages.
unpacked_packages() {
  local folder
  folder="$(distribution)/$*"
  printf '%s\n' "$cache/${folder// /+}"
}

# unpack_packages NAME...: makes that folder.
unpack_packages() {
  local folder
  folder=$(unpacked_packages "$@")
  if [[ ! -e $folder ]]; then update_package_lists; fi
  cached "${folder#"$cache/"}" download_and_unpack "$@"
}

download_and_unpack() {
  local target=${!#} package
  mkdir "$target"
  cd "$target"
  apt-get -o APT::Sandbox::User=root download "${@:1:$#-1}"
  for package in ./*.deb; do dpkg-deb -x "$package" .; done
  rm ./*.deb
}

distribution() { (. /etc/os-release && echo "$ID-$VERSION_ID"); }

# npm_package NAME VERSION: makes $cache/npm/NAME-VERSION, the unpacked package.
npm_package() { cached "npm/$1-$2" fetch_npm_package "$1@$2"; }

fetch_npm_package() {
  mkdir "$2"
  cd "$2"
  npm pack --silent "$1"
  tar -xzf ./*.tgz --strip-components=1
  rm ./*.tgz
}

# wheel NAME VERSION PLATFORM: makes $cache/wheels/NAME-VERSION-PLATFORM, the unpacked wheel.
wheel() { cached "wheels/$1-$2-$3" fetch_wheel "$1==$2" "$3"; }

fetch_wheel() {
  mkdir "$3"
  python3 -m pip download --quiet --no-deps --only-binary=:all: --platform "$2" --dest "$3" "$1"
  python3 -m zipfile -e "$3"/*.whl "$3"
  rm "$3"/*.whl
  # The permissions in the zip file aren't restored.
  find "$3" -path '*.data/scripts/*' -type f -exec chmod 755 {} +
}
