//! The options of every command that boots.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lab::cache::Cache;
use lab::image::{Addition, Programs, initramfs};
use lab::kernel::Kernel;
use lab::protocol::{CgroupMode, Job, Message, Step};
use lab::take::{Receiver, Take};
use lab::vm::{Accelerator, Boot, Machine, QEMU, is_program};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// How cgroups are mounted in the machine
    #[arg(long, value_enum, default_value = "v2")]
    pub cgroup: CgroupMode,
    /// Force one accelerator [default: KVM if this kernel boots in it, else emulation; without KVM
    /// `compare` takes virtual time, because its figures must not depend on how busy the host is,
    /// and `scenarios` CPUs that take turns, because it runs for long]
    #[arg(long, value_enum)]
    pub accel: Option<Accelerator>,
    /// The emulation to use without KVM
    #[arg(skip = Accelerator::Emulation)]
    pub otherwise: Accelerator,
    /// CPUs of the machine
    #[arg(long, default_value_t = 2)]
    pub cpus: u32,
    /// Memory of the machine
    #[arg(long, default_value_t = 1024, value_name = "MIB")]
    pub memory: u32,
    /// Seconds after which a command is killed
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    pub limit: u32,
    /// Arguments for the kernel's command line
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub append: Vec<String>,
    /// Put a file or directory into the machine, with the shared libraries it needs: SOURCE (to
    /// /bin) or SOURCE:TARGET
    #[arg(long, value_name = "PATH")]
    pub with: Vec<String>,
    /// Bring a file or directory out of the machine: SOURCE (to the same path here) or
    /// SOURCE:TARGET; nothing is overwritten
    #[arg(long, value_name = "PATH")]
    pub take: Vec<String>,
    /// Set a variable for commands: NAME=VALUE
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Keep everything that the kernel prints in this file
    #[arg(long, value_name = "FILE")]
    pub console: Option<PathBuf>,
    /// Arguments for QEMU, passed on unchanged
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub qemu: Vec<String>,
}

/// Beyond the steps' own limits, a machine has this long to boot and to end.
const BOOT_LIMIT: Duration = Duration::from_secs(120);

impl Options {
    /// The same options for figures: virtual time where there is no KVM.
    pub(crate) fn for_figures(&self) -> Self {
        Self {
            otherwise: Accelerator::VirtualTime,
            ..self.clone()
        }
    }

    /// Boots `kernel` and runs `steps`. With `talk`, the lab's own choices are printed on standard
    /// error.
    pub(crate) fn boot(
        &self,
        cache: &Cache,
        programs: &Programs,
        kernel: &Kernel,
        steps: Vec<Step>,
        talk: bool,
        mut hear: impl FnMut(&Message) -> io::Result<()>,
    ) -> Result<(Boot, Accelerator)> {
        let accelerator = match self.accel {
            Some(_) if is_program(&kernel.image)? => {
                bail!(
                    "{} is a program (user-mode Linux) and runs without QEMU: leave --accel out",
                    kernel.name
                )
            }
            Some(accelerator) => accelerator,
            None => {
                let (chosen, why) = Accelerator::choose(cache, programs, &kernel.image)?;
                let accelerator = match chosen {
                    Accelerator::Emulation => self.otherwise,
                    chosen => chosen,
                };
                if talk {
                    tell!("lab: {} on {} ({why})", kernel.name, accelerator.label());
                }
                accelerator
            }
        };
        let env = self
            .env
            .iter()
            .map(|text| {
                text.split_once('=')
                    .map(|(a, b)| (a.to_owned(), b.to_owned()))
            })
            .collect::<Option<Vec<_>>>()
            .context("--env takes NAME=VALUE")?;
        let additions: Vec<Addition> = self.with.iter().map(|text| Addition::parse(text)).collect();
        let limit = steps
            .iter()
            .map(|step| Duration::from_secs(u64::from(step.limit_s) + 20))
            .sum::<Duration>()
            + BOOT_LIMIT;
        let count = steps.len();
        let takes: Vec<Take> = self
            .take
            .iter()
            .map(|text| Take::parse(text))
            .collect::<Result<_>>()?;
        let job = Job {
            cgroup: self.cgroup,
            env,
            steps,
            take: takes.iter().map(|take| take.source.clone()).collect(),
        };
        let machine = Machine {
            emulator: Path::new(QEMU),
            image: &kernel.image,
            initramfs: &initramfs(programs, &additions, &job)?,
            steps: count,
            append: &self.append,
            accelerator,
            cpus: self.cpus,
            memory_mib: self.memory,
            limit,
            qemu_args: &self.qemu,
        };
        let mut receiver = Receiver::new(&takes);
        let boot = machine.boot(|message| {
            receiver.hear(message);
            hear(message)
        })?;
        receiver.finish()?;
        if let Some(path) = &self.console {
            std::fs::write(path, &boot.console)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok((boot, accelerator))
    }
}
