//! Emulation, or hardware virtualisation once it has been shown to work.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{Machine, qemu, uml};
use crate::cache::{Cache, sha256_file};
use crate::image::{Programs, initramfs};
use crate::process;
use crate::protocol::{CgroupMode, Job};

/// How the machine's instructions are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Accelerator {
    /// TCG, one thread a CPU. Times are those of the emulator: only their ratios within one boot
    /// mean anything.
    #[value(name = "tcg")]
    Emulation,
    /// TCG, all CPUs in one thread, which takes turns: slower, but code that the kernel rewrites
    /// while another CPU executes it (tracepoints, BPF) is whole at any time. With a thread a CPU,
    /// QEMU 7.2 has executed a breakpoint where memory had the instruction again.
    #[value(name = "tcg-turns")]
    TakingTurns,
    /// TCG with `-icount`: one instruction takes one virtual nanosecond, the CPUs take turns, and
    /// an idle machine's clock jumps to the next timer. The load of the host changes nothing, so
    /// ratios are valid even on a busy host. But nothing in it happens at the same time, and no
    /// time is that of a real processor.
    VirtualTime,
    /// KVM. Times are near to native ones.
    Kvm,
    /// None: the kernel is a program (ARCH=um), which traces its processes. Their instructions are
    /// the processor's own, their system calls and faults are not, so no time is that of a machine.
    /// Decided by the image, never by choice.
    #[value(skip)]
    UserMode,
}

/// Every instruction but cmpxchg16b. Behind one in `kmem_cache_alloc()`, QEMU 7.2 has once had the
/// lower half of an address for flags, and a kernel died of a double fault after 2 628 rows of
/// scenarios. Without the instruction one such run had no fault, which is no proof.
const WITHOUT_CX16: &str = "max,-cx16";

/// The self-test's limit: an emulated boot takes a few seconds, so an accelerated one that has not
/// come up by then hangs.
const SELF_TEST: Duration = Duration::from_secs(15);

/// An answer of the self-test, kept for this boot of the machine.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    key: String,
    works: bool,
    why: String,
}

impl Accelerator {
    /// Whether times are those of an emulator, or of a kernel that runs as a program.
    #[must_use]
    pub fn is_emulated(self) -> bool {
        self != Self::Kvm
    }

    pub(super) fn qemu_args(self) -> &'static [&'static str] {
        match self {
            Self::Emulation => &["-accel", "tcg,thread=multi", "-cpu", "max"],
            Self::TakingTurns => &["-accel", "tcg,thread=single", "-cpu", WITHOUT_CX16],
            Self::VirtualTime => &[
                "-accel",
                "tcg,thread=single",
                "-cpu",
                WITHOUT_CX16,
                "-icount",
                "shift=0,sleep=off",
                "-rtc",
                "clock=vm",
            ],
            Self::Kvm => &["-accel", "kvm", "-cpu", "host"],
            Self::UserMode => &[],
        }
    }

    /// The word used in tables and records.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Emulation => "emulated (QEMU TCG)",
            Self::TakingTurns => "emulated, CPUs taking turns (QEMU TCG)",
            Self::VirtualTime => "emulated, virtual time (QEMU TCG, icount)",
            Self::Kvm => "virtualised (KVM)",
            Self::UserMode => "emulated (user-mode Linux)",
        }
    }

    /// KVM if this very kernel boots in it to init's verdict, emulation otherwise. There are
    /// machines where `/dev/kvm` exists and a kernel hangs in it, so only a boot counts. The result
    /// is kept until the host reboots. A kernel that is a program needs neither.
    ///
    /// # Errors
    /// When the answer cannot be read or kept.
    pub fn choose(cache: &Cache, programs: &Programs, image: &Path) -> Result<(Self, String)> {
        if uml::is_program(image)? {
            return Ok((Self::UserMode, "the kernel is a program".to_owned()));
        }
        if fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/kvm")
            .is_err()
        {
            return Ok((Self::Emulation, "/dev/kvm cannot be opened".to_owned()));
        }
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .context("cannot read the boot id")?;
        let version = process::text(Command::new(qemu::QEMU).arg("--version"))?;
        let key = format!(
            "{} {} {}",
            boot_id.trim(),
            version.lines().next().unwrap_or(""),
            sha256_file(image)?
        );
        let kept = cache
            .dir("accelerator")?
            .join(&crate::cache::sha256_parts([key.as_bytes()])[..16]);
        if let Ok(text) = fs::read_to_string(&kept)
            && let Ok(answer) = serde_json::from_str::<Answer>(&text)
            && answer.key == key
        {
            return Ok((
                if answer.works {
                    Self::Kvm
                } else {
                    Self::Emulation
                },
                answer.why,
            ));
        }
        let (works, why) = match Self::self_test(programs, image) {
            Ok(()) => (true, "the kernel booted in it".to_owned()),
            Err(error) => (false, format!("no boot under KVM: {}", first_line(&error))),
        };
        let text = serde_json::to_string(&Answer {
            key,
            works,
            why: why.clone(),
        })
        .context("encode the answer")?;
        fs::write(&kept, text).with_context(|| format!("cannot write {}", kept.display()))?;
        Ok((if works { Self::Kvm } else { Self::Emulation }, why))
    }

    fn self_test(programs: &Programs, image: &Path) -> Result<()> {
        let job = Job {
            cgroup: CgroupMode::None,
            env: Vec::new(),
            steps: Vec::new(),
            take: Vec::new(),
        };
        let machine = Machine {
            emulator: Path::new(qemu::QEMU),
            image,
            initramfs: &initramfs(programs, &[], &job)?,
            steps: 0,
            append: &[],
            accelerator: Self::Kvm,
            cpus: 2,
            memory_mib: 512,
            limit: SELF_TEST,
            qemu_args: &[],
        };
        machine.boot(|_| Ok(())).map(drop)
    }
}

fn first_line(error: &anyhow::Error) -> String {
    error
        .to_string()
        .lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches(':')
        .to_owned()
}
