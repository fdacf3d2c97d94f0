//! The command line of a kernel that is a program: user-mode Linux, ARCH=um.
//!
//! Nothing is emulated and nothing but the program is needed, so it comes up in a fifth of a
//! second. More than one CPU needs Linux 6.19 or later and a host that lets it install seccomp
//! filters. Source: Documentation/virt/uml/user_mode_linux_howto_v2.rst.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::{Machine, dying_with_us};

/// Whether an image is a program of this machine, not something for a boot loader.
///
/// # Errors
/// When it cannot be read.
pub fn is_program(image: &Path) -> Result<bool> {
    let mut magic = [0; 4];
    let mut file = File::open(image).with_context(|| format!("cannot open {}", image.display()))?;
    let whole = file
        .read(&mut magic)
        .with_context(|| format!("cannot read {}", image.display()))?
        == magic.len();
    Ok(whole && magic == *b"\x7fELF")
}

/// The kernel: its console on its standard output, the lab's channel on its standard input, which
/// it only writes to.
///
/// Its processes are children that die with it (PR_SET_PDEATHSIG in
/// arch/um/kernel/skas/stub_exe.c).
pub(super) fn command(machine: &Machine<'_>, initramfs: &Path, channel: &Path) -> Result<Command> {
    let out = channel.with_extension("out");
    let to_lab = File::options()
        .write(true)
        .open(&out)
        .with_context(|| format!("cannot open {}", out.display()))?;
    let place = initramfs.parent().unwrap_or(Path::new("/tmp"));
    let mut command = dying_with_us(machine.image);
    command
        .arg(format!("mem={}M", machine.memory_mib))
        .arg(format!("initrd={}", initramfs.display()))
        // Its sockets and its memory file are in the machine's directory, and are removed with it.
        .arg(format!("uml_dir={}/", place.display()))
        .env("TMPDIR", place)
        .args(["umid=machine", "noreboot"])
        .args(["con=null", "con0=null,fd:1", "ssl=null", "ssl1=null,fd:0"])
        .args(["oops=panic", "panic=-1"]);
    if machine.cpus > 1 {
        command
            .arg(format!("ncpus={}", machine.cpus))
            .arg("seccomp=on");
    }
    command.args(machine.append).stdin(Stdio::from(to_lab));
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_told_from_an_image() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        std::fs::write(&image, b"MZ\0\0").unwrap();
        assert!(!is_program(&image).unwrap());
        std::fs::write(&image, b"\x7fE").unwrap();
        assert!(!is_program(&image).unwrap());
        assert!(is_program(&std::env::current_exe().unwrap()).unwrap());
        assert!(is_program(&dir.path().join("none")).is_err());
    }
}
