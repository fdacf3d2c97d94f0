//! Machines that fail, each with its one clear error. The script `fixtures/emulator` replaces QEMU:
//! what it prints on its standard output is the kernel's console, what it writes to descriptor 3 is
//! init's channel.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::*;

/// Boots a machine whose emulator does `script`.
fn boot(script: &str, steps: usize, limit: Duration) -> Result<Boot> {
    boot_with(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/emulator"),
        script,
        steps,
        limit,
    )
}

fn boot_with(emulator: &Path, script: &str, steps: usize, limit: Duration) -> Result<Boot> {
    let args = [script.to_owned()];
    machine(emulator, &args, steps, limit).boot(|_| Ok(()))
}

fn machine<'a>(
    emulator: &'a Path,
    args: &'a [String],
    steps: usize,
    limit: Duration,
) -> Machine<'a> {
    Machine {
        emulator,
        image: Path::new("vmlinuz"),
        initramfs: b"",
        steps,
        append: &[],
        accelerator: Accelerator::Emulation,
        cpus: 1,
        memory_mib: 1,
        limit,
        qemu_args: args,
    }
}

#[test]
fn a_hang_in_virtual_time_while_the_second_cpu_starts_has_its_remedy() {
    let (begun, done) = (
        "smp: Bringing up secondary CPUs ...",
        "smp: Brought up 1 node",
    );
    let mut machine = machine(Path::new("qemu"), &[], 0, PATIENCE);
    assert_eq!(machine.hint(begun), "");
    machine.accelerator = Accelerator::VirtualTime;
    assert!(machine.hint(begun).contains("--cpus 1"));
    assert_eq!(machine.hint(&format!("{begun}\n{done}")), "");
}

/// Long enough for any of the scripts, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn error(script: &str, steps: usize) -> BootError {
    boot(script, steps, PATIENCE)
        .unwrap_err()
        .downcast()
        .unwrap()
}

const HELLO: &str = "echo 'hello 6.12|#1 SMP|v2 pids memory' >&3";

#[test]
fn a_good_machine_is_believed() {
    let script = format!(
        "echo '[    0.1] Linux'; {HELLO}; echo 'step 0 exit 0 left 2' >&3; echo 'verdict failed 0' \
            >&3"
    );
    let boot = boot(&script, 1, PATIENCE).unwrap();
    assert_eq!(
        (boot.release.as_str(), boot.steps),
        ("6.12", vec![(Ended::Exit(0), 2)])
    );
    assert_eq!(boot.console.trim(), "[    0.1] Linux");
}

#[test]
fn a_kernel_that_panics_at_boot_is_named_with_its_console() {
    let panic = "[    0.9] Kernel panic - not syncing: VFS: Unable to mount root fs";
    let error = error(&format!("echo '[    0.8] before'; echo '{panic}'"), 0);
    assert!(
        matches!(error, BootError::Fault { kind: "panic", .. }),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("vmlinuz") && text.contains(panic) && text.contains("before"),
        "{text}"
    );
}

#[test]
fn a_report_of_the_kernel_fails_a_run_that_went_well_otherwise() {
    let script = format!(
        "{HELLO}; echo '[    1.0] BUG: KASAN: slab-use-after-free in cgroup_kill'; echo 'verdict \
            failed 0' >&3"
    );
    let error = error(&script, 0);
    assert!(
        matches!(
            error,
            BootError::Fault {
                kind: "KASAN report",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_kernel_without_cgroup_v2_is_told_by_init() {
    let script = "echo 'verdict init this kernel has no cgroup v2 (CONFIG_CGROUPS); nothing of the \
        suite can run in it' >&3";
    let text = error(script, 1).to_string();
    assert!(text.contains("this kernel has no cgroup v2"), "{text}");
}

#[test]
fn a_machine_that_ends_without_a_word_has_not_answered() {
    let text = error("echo '[    0.1] Linux'", 0).to_string();
    assert!(
        text.contains("without a verdict") && text.contains("Linux"),
        "{text}"
    );
}

#[test]
fn a_doubled_verdict_is_none() {
    let text = error(
        "echo 'verdict failed 0' >&3; echo 'verdict failed 0' >&3",
        0,
    )
    .to_string();
    assert!(text.contains("2 verdicts"), "{text}");
}

#[test]
fn an_emulator_that_fails_is_quoted() {
    let text = error(
        "echo 'could not load kernel: No space left on device' >&2; exit 1",
        0,
    )
    .to_string();
    assert!(
        text.contains("No space left on device") && text.contains("exit status: 1"),
        "{text}"
    );
}

#[test]
fn a_machine_that_hangs_is_ended_and_does_not_live_on() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let script = format!(
        "echo $$ > {}; echo '[    0.1] Linux'; exec sleep 1000",
        pid.display()
    );
    let error = boot(&script, 0, Duration::from_secs(1)).unwrap_err();
    assert!(
        matches!(error.downcast_ref(), Some(BootError::Limit { .. })),
        "{error:#}"
    );
    // A script that had no time to begin has no pid, and was killed all the same.
    if let Ok(pid) = fs::read_to_string(&pid) {
        assert!(!Path::new("/proc").join(pid.trim()).exists(), "{pid}");
    }
}

#[test]
fn a_machine_that_is_stopped_from_outside_is_ended_at_once() {
    let error = error("echo '[    0.1] Linux'; kill -STOP $$", 0);
    assert!(matches!(error, BootError::Stopped { .. }), "{error}");
    assert!(error.to_string().contains("Linux"), "{error}");
}

#[test]
fn a_machine_that_ends_is_over_although_another_holds_its_console() {
    let dir = tempfile::tempdir().unwrap();
    let alive = dir.path().join("alive");
    mkfifo(&alive, Mode::S_IRWXU).unwrap();
    let mut options = fs::File::options();
    options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
    let alive_read = options.open(&alive).unwrap();
    let script = format!(
        "exec 4>{}; echo '[    0.1] Linux'; sleep 1000 &",
        alive.display()
    );
    let text = error(&script, 0).to_string();
    assert!(text.contains("without a verdict"), "{text}");
    // The last process that the machine started closes the pipe. Dying takes a moment on a busy
    // machine.
    let mut ended = [PollFd::new(alive_read.as_fd(), PollFlags::POLLIN)];
    poll(&mut ended, PollTimeout::from(60_000u16)).unwrap();
    assert_eq!(
        ended[0].revents(),
        Some(PollFlags::POLLHUP),
        "what the machine started lives on"
    );
}

#[test]
fn a_machine_that_has_halted_is_ended_before_its_limit() {
    let script = format!("{HELLO}; echo '[    1.0] reboot: System halted'; exec sleep 1000");
    let error = error(&script, 0);
    assert!(matches!(error, BootError::Limit { .. }), "{error}");
}

#[test]
fn when_nobody_listens_the_machine_is_ended() {
    let emulator = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/emulator");
    let script = format!("{HELLO}; echo 'o text' >&3; exec sleep 1000");
    let machine = Machine {
        emulator: &emulator,
        image: Path::new("vmlinuz"),
        initramfs: b"",
        steps: 1,
        append: &[],
        accelerator: Accelerator::Emulation,
        cpus: 1,
        memory_mib: 1,
        limit: PATIENCE,
        qemu_args: &[script],
    };
    let error = machine
        .boot(|_| Err(io::ErrorKind::BrokenPipe.into()))
        .unwrap_err();
    let cause = error.downcast_ref::<io::Error>().map(io::Error::kind);
    assert_eq!(cause, Some(io::ErrorKind::BrokenPipe), "{error:#}");
}

#[test]
fn a_missing_emulator_is_an_error_of_the_lab() {
    let error = boot_with(Path::new("/no/such/emulator"), "", 0, PATIENCE).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("/no/such/emulator"), "{text}");
}
