//! The smallest executables that really run: static ELF programs of some two hundred bytes that print one text and end.
//!
//! They stand in for the tool's binaries in tests that don't need 50 MB of them. Layout: the [ELF-64 object file
//! format][spec].
//!
//! [spec]: https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html

/// A static executable for `platform` (`linux/amd64` or `linux/arm64`) that prints `text`, whatever its arguments are,
/// and ends with status 0.
pub fn printing(platform: &str, text: &str) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let length = u32::try_from(text.len()).expect("the text is short");
    let (machine, code_size) = match platform {
        "linux/amd64" => (62_u16, 34_u64),
        "linux/arm64" => (183, 36),
        other => panic!("no executable can be made here for `{other}`"),
    };
    let text_at = BASE + HEADERS + code_size;
    let code = match machine {
        62 => amd64(u32::try_from(text_at).expect("the image is in the low 4 GiB"), length),
        _ => arm64(u32::try_from(text_at).expect("the image is in the low 4 GiB"), length),
    };
    assert_eq!(code.len() as u64, code_size);
    let size = HEADERS + code_size + u64::from(length);

    let mut elf = Vec::new();
    elf.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    elf.extend(2_u16.to_le_bytes()); // ET_EXEC
    elf.extend(machine.to_le_bytes());
    elf.extend(1_u32.to_le_bytes());
    elf.extend((BASE + HEADERS).to_le_bytes()); // entry
    elf.extend(64_u64.to_le_bytes()); // program headers
    elf.extend(0_u64.to_le_bytes()); // no section headers
    elf.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 64, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(1_u32.to_le_bytes()); // PT_LOAD
    elf.extend(5_u32.to_le_bytes()); // readable, executable
    for word in [0, BASE, BASE, size, size, 0x1_0000] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(code);
    elf.extend(text.as_bytes());
    elf
}

/// `write(1, text, length); exit(0)`.
fn amd64(text_at: u32, length: u32) -> Vec<u8> {
    let mut code = vec![0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0xbe];
    code.extend(text_at.to_le_bytes());
    code.push(0xba);
    code.extend(length.to_le_bytes());
    code.extend([0x0f, 0x05]);
    code.extend([0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05, 0x90, 0x90, 0x90]);
    code
}

/// The same for arm64, where each instruction is a word; `movz` and `movk` carry sixteen bits each.
fn arm64(text_at: u32, length: u32) -> Vec<u8> {
    assert!(length < 1 << 16, "the text fits one `movz`");
    let movz = |register: u32, value: u32| 0xd280_0000 | (value << 5) | register;
    let movk_high = |register: u32, value: u32| 0xf2a0_0000 | (value << 5) | register;
    let words = [
        movz(0, 1),
        movz(1, text_at & 0xffff),
        movk_high(1, text_at >> 16),
        movz(2, length),
        movz(8, 64),
        0xd400_0001, // svc #0
        movz(8, 93),
        movz(0, 0),
        0xd400_0001,
    ];
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Output};

    /// A child of another test that was forked while the file was open for writing may keep it busy for a moment.
    fn run(command: &mut Command) -> Output {
        loop {
            match command.output() {
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
                output => return output.unwrap(),
            }
        }
    }

    #[test]
    fn an_executable_of_this_machine_runs_and_prints() {
        let platform = if cfg!(target_arch = "x86_64") { "linux/amd64" } else { "linux/arm64" };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tool");
        std::fs::write(&path, printing(platform, "tool 1.2.3\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        let output = run(Command::new(&path).arg("--version"));
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), b"tool 1.2.3\n".as_slice()));
    }

    #[test]
    fn an_arm64_executable_runs_under_emulation() {
        let qemu = "/usr/bin/qemu-aarch64-static";
        if !std::path::Path::new(qemu).exists() {
            return crate::parts::skip("qemu-user-static is not installed");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tool");
        std::fs::write(&path, printing("linux/arm64", "tool 1.2.3\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        let output = run(Command::new(qemu).arg(&path));
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), b"tool 1.2.3\n".as_slice()));
    }
}
