# shellcheck shell=bash
# Lets the kernel run arm64 executables. If that is impossible, everything continues without.

need_for_emulation() { need update-binfmts=binfmt-support qemu-aarch64-static=qemu-user-static; }

enable_emulation() {
  [[ -e /proc/sys/fs/binfmt_misc/register ]] || mount -t binfmt_misc none /proc/sys/fs/binfmt_misc 2>/dev/null || true
  emulated || update-binfmts --enable qemu-aarch64 2>/dev/null || true
  emulated || warn "this machine can't emulate arm64: nothing is run on that platform"
}

emulated() { [[ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ]]; }
