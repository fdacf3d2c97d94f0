//! Reading what [`Environment`] holds.

use nix::sys::resource::{Resource, getrlimit};

use super::{
    BaseFacts, Build, Cgroups, Cpu, Environment, Kernel, Limits, Mount, Preemption, SCHEMA,
    Virtualisation,
};
use crate::host::Paths;
use crate::host::kconfig::KernelConfig;
use crate::host::mountinfo::Hierarchy;
use crate::host::{Host, LimitSource};

impl Environment {
    /// Reads everything, changes nothing.
    pub fn capture(paths: &Paths, host: &Host, changes: &[String]) -> Self {
        let cpuinfo = paths.read("/proc/cpuinfo").unwrap_or_default();
        let own = |text: Option<&str>| text.map(str::to_owned);
        let model = field(&cpuinfo, "model name").or_else(|| field(&cpuinfo, "Model"));
        let hypervisor_flag = field(&cpuinfo, "flags")
            .map(|flags| flags.split_ascii_whitespace().any(|f| f == "hypervisor"));
        Self {
            schema: SCHEMA,
            captured_unix_s: unix_time(),
            kernel: kernel(paths, &host.release),
            cgroups: cgroups(host, changes),
            cpu: Cpu {
                model: own(model),
                online: paths
                    .read("/sys/devices/system/cpu/online")
                    .and_then(|list| count_cpus(&list)),
                allowed: std::thread::available_parallelism().ok().map(usize::from),
                governor: paths.read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            },
            memory_bytes: paths.read("/proc/meminfo").and_then(|text| {
                let kib: u64 = field(&text, "MemTotal")?
                    .strip_suffix(" kB")?
                    .parse()
                    .ok()?;
                kib.checked_mul(1024)
            }),
            virtualisation: Virtualisation {
                hypervisor_flag,
                emulated: emulated(model, hypervisor_flag),
                hypervisor: paths.read("/sys/hypervisor/type"),
                vendor: paths.read("/sys/class/dmi/id/sys_vendor"),
                product: paths.read("/sys/class/dmi/id/product_name"),
                container: own(paths.container()),
            },
            limits: limits(paths, host),
            euid: host.euid,
            capabilities: host.capabilities.names(),
            build: Build {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                revision: own(option_env!("HARNESS_REVISION")),
                rustc: own(option_env!("HARNESS_RUSTC")),
                debug_assertions: cfg!(debug_assertions),
            },
        }
    }
}

/// QEMU's own models of a processor say so when they are emulated (`-cpu max` without KVM), and a
/// kernel that is a program (ARCH=um) calls its processor UML.
fn emulated(model: Option<&str>, hypervisor_flag: Option<bool>) -> Option<bool> {
    match (model, hypervisor_flag) {
        (Some(model), _) if model.contains("QEMU TCG") || model == "UML" => Some(true),
        (_, Some(false)) => Some(false),
        _ => None,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the time of day is read"
)]
fn unix_time() -> Option<u64> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.ok().map(|t| t.as_secs())
}

/// The value behind `name` and a colon, as in `/proc/cpuinfo` and `/proc/meminfo`.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim_end() == name).then(|| value.trim())
    })
}

/// How many processors a list such as `0-3,8` names.
fn count_cpus(list: &str) -> Option<usize> {
    let mut count = 0usize;
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    Some(count)
}

fn kernel(paths: &Paths, release: &str) -> Kernel {
    let name = nix::sys::utsname::uname().ok();
    let version = name
        .as_ref()
        .map(|n| n.version().to_string_lossy().into_owned());
    let config = KernelConfig::read(paths, release);
    let in_version = version.as_ref().map(|v| v.contains("PREEMPT_DYNAMIC"));
    let command_line = paths.read("/proc/cmdline").unwrap_or_default();
    Kernel {
        release: release.to_owned(),
        machine: name.map(|n| n.machine().to_string_lossy().into_owned()),
        hz: config.as_ref().and_then(KernelConfig::hz),
        preemption: Preemption {
            configured: config
                .as_ref()
                .and_then(KernelConfig::preemption)
                .map(str::to_owned),
            dynamic: config
                .as_ref()
                .map(KernelConfig::preempt_dynamic)
                .or(in_version),
            command_line: command_line
                .split_ascii_whitespace()
                .find_map(|w| w.strip_prefix("preempt="))
                .map(str::to_owned),
            running: paths
                .read("/sys/kernel/debug/sched/preempt")
                .and_then(|text| chosen(&text)),
        },
        version,
        clocksource: paths.read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
    }
}

/// The word in parentheses, as in `none voluntary (full) lazy`.
fn chosen(text: &str) -> Option<String> {
    let word = text
        .split_ascii_whitespace()
        .find_map(|w| w.strip_prefix('(')?.strip_suffix(')'))?;
    Some(word.to_owned())
}

fn cgroups(host: &Host, changes: &[String]) -> Cgroups {
    let layout = &host.layout;
    let kind = match (
        layout.v2().is_some(),
        layout.hybrid(),
        layout.mounts.is_empty(),
    ) {
        (true, true, _) => "hybrid",
        (true, false, _) => "unified",
        (false, _, false) => "v1",
        (false, _, true) => "none",
    };
    let v2_root = layout
        .v2()
        .map(|mount| mount.point.join("cgroup.controllers"));
    let controllers = v2_root.and_then(|path| std::fs::read_to_string(path).ok());
    Cgroups {
        layout: kind.to_owned(),
        mounts: layout
            .mounts
            .iter()
            .map(|mount| Mount {
                point: mount.point.display().to_string(),
                hierarchy: match &mount.hierarchy {
                    Hierarchy::V2 => "cgroup2".to_owned(),
                    Hierarchy::V1 {
                        name: Some(name), ..
                    } => format!("name={name}"),
                    Hierarchy::V1 {
                        controllers,
                        name: None,
                    } => controllers.join(","),
                },
                options: mount.options.clone(),
            })
            .collect(),
        v2_controllers: controllers
            .map(|list| list.split_ascii_whitespace().map(str::to_owned).collect()),
        base: host.base.as_ref().map(|base| BaseFacts {
            path: base.cgroup().path().display().to_string(),
            how: base.how().to_owned(),
            limits: match base.limits() {
                LimitSource::V2 { .. } => "v2",
                LimitSource::V1 { .. } => "v1",
                LimitSource::None => "none",
            }
            .to_owned(),
            memory_limit: matches!(
                base.limits(),
                LimitSource::V2 { memory: true, .. }
                    | LimitSource::V1 {
                        memory: Some(_),
                        ..
                    }
            ),
            changes: changes.to_vec(),
            notes: base.notes().to_vec(),
        }),
    }
}

fn limits(paths: &Paths, host: &Host) -> Limits {
    let rlimit = |resource| {
        let (soft, hard) = getrlimit(resource).ok()?;
        (soft != nix::libc::RLIM_INFINITY).then_some((soft, hard))
    };
    let names = [
        "fs.inotify.max_user_instances",
        "fs.inotify.max_user_watches",
        "fs.inotify.max_queued_events",
        "fs.nr_open",
        "kernel.pid_max",
        "kernel.threads-max",
        "user.max_pid_namespaces",
        "user.max_user_namespaces",
    ];
    let sysctl = names.into_iter().filter_map(|name| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        Some((name.to_owned(), paths.read(&path)?.parse().ok()?))
    });
    Limits {
        nproc: rlimit(Resource::RLIMIT_NPROC),
        nofile: rlimit(Resource::RLIMIT_NOFILE),
        sysctl: sysctl.collect(),
        cgroup_pids_max: cgroup_pids_max(host),
    }
}

/// The smallest `pids.max` from own cgroup up to the mount point. A root cgroup has no such file.
fn cgroup_pids_max(host: &Host) -> Option<u64> {
    let v1 = host.layout.own_v1("pids").ok().map(|dir| dir.path);
    let own = v1.or_else(|| host.layout.own_v2().ok())?;
    let mounts = host.layout.mounts.iter().map(|m| &m.point);
    let top = mounts
        .filter(|point| own.starts_with(point))
        .max_by_key(|p| p.components().count())?;
    let dirs = own.ancestors().take_while(|dir| dir.starts_with(top));
    dirs.filter_map(|dir| {
        std::fs::read_to_string(dir.join("pids.max"))
            .ok()?
            .trim()
            .parse()
            .ok()
    })
    .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lists_are_understood() {
        assert_eq!(count_cpus("0-3,8\n"), Some(5));
        assert_eq!(count_cpus("0"), Some(1));
        assert_eq!(
            (count_cpus(""), count_cpus("3-1"), count_cpus("x")),
            (None, None, None)
        );
        assert_eq!(
            chosen("none voluntary (full) lazy\n").as_deref(),
            Some("full")
        );
        assert_eq!(chosen("full\n"), None);
        assert_eq!(field("flags\t\t: fpu vme\n", "flags"), Some("fpu vme"));
        assert_eq!(field("MemTotal:       24 kB\n", "MemTotal"), Some("24 kB"));
    }

    #[test]
    fn an_emulated_processor_is_told_from_a_virtual_one() {
        assert_eq!(
            emulated(Some("QEMU TCG CPU version 2.5+"), Some(true)),
            Some(true)
        );
        assert_eq!(emulated(Some("UML"), None), Some(true));
        assert_eq!(emulated(Some("Some CPU @ 2 GHz"), Some(false)), Some(false));
        assert_eq!(emulated(Some("Some CPU @ 2 GHz"), Some(true)), None);
        assert_eq!(emulated(None, None), None);
    }

    #[test]
    fn an_empty_machine_has_only_unknowns() {
        let dir = tempfile::tempdir().unwrap();
        let host = crate::host::look(&Paths::default()).unwrap();
        let env = Environment::capture(&Paths::below(dir.path()), &host, &[]);
        assert_eq!(env.cpu.model, None);
        assert_eq!(env.cpu.online, None);
        assert_eq!(env.memory_bytes, None);
        assert_eq!(env.kernel.hz, None);
        assert_eq!(env.virtualisation, Virtualisation::default());
        assert!(env.limits.sysctl.is_empty());
    }

    #[test]
    fn it_survives_a_round_trip() {
        let paths = Paths::default();
        let env = Environment::capture(&paths, &crate::host::look(&paths).unwrap(), &[]);
        let text = serde_json::to_string(&env).unwrap();
        assert_eq!(serde_json::from_str::<Environment>(&text).unwrap(), env);
        assert!(
            env.captured_unix_s.is_some() && env.memory_bytes.is_some(),
            "{text}"
        );
    }
}
