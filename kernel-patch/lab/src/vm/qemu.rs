//! The command line of QEMU, and the reasons for it.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{Machine, dying_with_us};

/// The emulator.
pub const QEMU: &str = "qemu-system-x86_64";

/// QEMU: the kernel's console on its standard output, the lab's channel on a pair of fifos.
pub(super) fn command(machine: &Machine<'_>, initramfs: &Path, channel: &Path) -> Command {
    let mut command = dying_with_us(machine.emulator);
    command
        .args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ])
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
        .stdin(Stdio::null());
    command
}

fn command_line(machine: &Machine<'_>) -> String {
    let mut words = vec![
        "console=ttyS0,115200",
        "8250.nr_uarts=4",
        // An oops is a panic and a panic ends the machine: QEMU has -no-reboot.
        "oops=panic",
        "panic=-1",
        "reboot=t",
        // Mitigations protect nothing here, and each costs time under emulation.
        "mitigations=off",
        "random.trust_cpu=on",
        "random.trust_bootloader=on",
    ];
    if machine.accelerator.is_emulated() {
        // The watchdog that compares clocks would give false alarms on a busy host.
        words.extend(["tsc=reliable", "no_timer_check"]);
    }
    words.extend(machine.append.iter().map(String::as_str));
    words.join(" ")
}
