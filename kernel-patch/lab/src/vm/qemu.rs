//! The command line of QEMU, and why it is what it is.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Result;

use super::Machine;
use crate::process::ProcessError;

/// The emulator.
pub const QEMU: &str = "qemu-system-x86_64";

/// Starts QEMU: the kernel's console on its standard output, the lab's channel on a pair of fifos.
///
/// `setpriv --pdeathsig` ends QEMU when the lab is killed in a way that leaves it no time to clean up (`prctl(2)`,
/// PR_SET_PDEATHSIG; it counts the thread that starts it, which is the one that waits).
pub(super) fn start(machine: &Machine<'_>, initramfs: &Path, channel: &Path) -> Result<Child> {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(machine.emulator);
    command
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .args([
            "-machine",
            "pc",
            "-smp",
            &machine.cpus.to_string(),
            "-m",
            &machine.memory_mib.to_string(),
        ])
        .args(machine.accelerator.qemu_args())
        .arg("-kernel")
        .arg(machine.image)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", &command_line(machine)])
        .args(["-serial", "stdio"])
        .args([
            "-chardev",
            &format!("pipe,id=channel,path={}", channel.display()),
            "-serial",
            "chardev:channel",
        ])
        .args(machine.qemu_args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().map_err(|cause| {
        ProcessError::Start {
            program: "setpriv".to_owned(),
            cause,
        }
        .into()
    })
}

fn command_line(machine: &Machine<'_>) -> String {
    let mut words = vec![
        "console=ttyS0,115200",
        "8250.nr_uarts=4",
        // An oops is a panic and a panic ends the machine: QEMU has -no-reboot.
        "oops=panic",
        "panic=-1",
        "reboot=t",
        // No mitigation protects anything here, and each costs time under emulation.
        "mitigations=off",
        "random.trust_cpu=on",
        "random.trust_bootloader=on",
    ];
    if machine.accelerator.is_emulated() {
        // The emulated clock is what the emulator says; the watchdog that compares clocks would be fooled by a busy host.
        words.extend(["tsc=reliable", "no_timer_check"]);
    }
    words.extend(machine.append.iter().map(String::as_str));
    words.join(" ")
}
