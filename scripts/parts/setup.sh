# shellcheck shell=bash
# Sets up what the demo, the measurements and the tests have in common.

# install_all [NAME...]: installs packages first, since the package manager can't do two things at once.
install_all() {
  need_for_emulation
  need_for_programs
  need_for_debian_trees
  need_for_scratch_images
  need_for_registry
  need_for_classic_engine
  need npm=npm "$@"
  install_needed
  enable_emulation
}

# while_installing COMMAND...: starts a command that needs only the compiler. In the meantime the package manager, which
# mostly waits for the disk, does the rest; `make_all` waits for the command.
under_way=()
while_installing() {
  need_for_programs
  install_needed
  "$@" & under_way+=($!)
}

# make_all COMMAND...: makes the parts that all of them use, and runs the commands in parallel.
make_all() {
  local command pids=("${under_way[@]}")
  for command in "$@" unpack_all fetch_github_descriptions; do
    $command & pids+=($!)
  done
  telling_all_of "${pids[@]}"
}

unpack_all() {
  unpack_registry
  unpack_classic_engine
}
