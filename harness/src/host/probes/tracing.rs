//! Interfaces that report on the whole machine, and need privileges.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use super::netlink::{self, Socket, attribute, find_attribute};
use super::{SECCOMP, answer};
use crate::error::{SysError, Target};
use crate::host::name::{own_pidns, probe_name};
use crate::host::{Host, ProbeError, Support};
use crate::sys::perf::Tracepoint;
use crate::sys::probe;
use crate::tracepoint::Tracefs;

/// How long the kernel may take to answer a message; it answers within the send.
const ANSWER: Duration = Duration::from_millis(500);

/// Feature `io-uring`.
pub(in crate::host) fn io_uring(_: &Host) -> Result<Support, ProbeError> {
    let known = [
        (
            Errno::ENOSYS,
            "Linux 5.1 with CONFIG_IO_URING, and a seccomp policy that allows io_uring_setup",
        ),
        (
            Errno::EPERM,
            "set the sysctl kernel.io_uring_disabled to 0, and allow io_uring_setup in the seccomp \
                policy",
        ),
        (Errno::ENOMEM, "raise RLIMIT_MEMLOCK (ulimit -l)"),
        (Errno::EMFILE, "raise RLIMIT_NOFILE (ulimit -n)"),
    ];
    answer("io_uring_setup", probe::io_uring(), &known)
}

/// Feature `io-uring-unprivileged`: with the sysctl at 1 root may, and no other.
pub(in crate::host) fn io_uring_unprivileged(host: &Host) -> Result<Support, ProbeError> {
    const SYSCTL: &str = "/proc/sys/kernel/io_uring_disabled";
    match std::fs::read_to_string(SYSCTL) {
        Ok(value) if value.trim() != "0" => Ok(Support::missing(
            format_args!("{SYSCTL} is {}", value.trim()),
            "set it to 0",
        )),
        // The file is of Linux 6.6.
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(SysError::io("read", Target::Path(SYSCTL.into()), &e).into())
        }
        _ => io_uring(host),
    }
}

/// Feature `bpf`: loads a program, attaches it to the tracepoint of process exits, detaches.
pub(in crate::host) fn bpf(_: &Host) -> Result<Support, ProbeError> {
    let attached = probe::bpf_program()
        .and_then(|program| probe::bpf_attach(program.as_fd(), c"sched_process_exit"));
    let known = [
        (
            Errno::EPERM,
            "CAP_BPF and CAP_PERFMON (or root), in the initial user namespace, and a seccomp \
                policy that allows bpf",
        ),
        (Errno::ENOSYS, "Linux 4.17 with CONFIG_BPF_SYSCALL"),
        (Errno::EINVAL, "a kernel with CONFIG_BPF_EVENTS"),
        (Errno::ENOENT, "a kernel with CONFIG_TRACEPOINTS"),
    ];
    answer("bpf(BPF_RAW_TRACEPOINT_OPEN)", attached, &known)
}

/// Where tracing instances are made.
pub(in crate::host) const INSTANCES: [&str; 2] = [
    "/sys/kernel/tracing/instances",
    "/sys/kernel/debug/tracing/instances",
];

/// Feature `tracefs`: makes and removes an own instance.
pub(in crate::host) fn tracefs(host: &Host) -> Result<Support, ProbeError> {
    const MOUNT: &str = "as root: mount -t tracefs tracefs /sys/kernel/tracing";
    let Some(instances) = INSTANCES
        .into_iter()
        .map(Path::new)
        .find(|dir| dir.is_dir())
    else {
        let why = if host.euid == 0 {
            "tracefs is not mounted"
        } else {
            "tracefs is not mounted, or not open to this user"
        };
        return Ok(Support::missing(why, MOUNT));
    };
    let instance = instances.join(probe_name()?);
    let made = std::fs::create_dir(&instance).and_then(|()| std::fs::remove_dir(&instance));
    Ok(match made {
        Ok(()) => Support::Available,
        Err(e) => Support::missing(
            SysError::io(
                "make a tracing instance at",
                crate::Target::Path(instance),
                &e,
            ),
            "run as root",
        ),
    })
}

/// Inode number of the initial PID namespace (`PROC_PID_INIT_INO`, include/linux/proc_ns.h).
const INITIAL_PIDNS: u64 = 0xEFFF_FFFC;

/// Feature `tracepoints`: listens to `sched_waking` on one processor. Filters of tracepoints know
/// processes only by their pids in the initial PID namespace.
pub(in crate::host) fn tracepoints(_: &Host) -> Result<Support, ProbeError> {
    if own_pidns()? != INITIAL_PIDNS {
        return Ok(Support::missing(
            "processes have other numbers here than in the kernel's tracepoints",
            "run in the initial PID namespace (docker: --pid=host)",
        ));
    }
    let listened = Tracefs::mount()
        .and_then(|tracefs| tracefs.number("sched/sched_waking"))
        .and_then(|number| {
            Tracepoint::stamped(number, 0, Some(c"pid == 1"), 1).map_err(|e| {
                SysError::path("perf_event_open on the tracepoint", "sched/sched_waking", e)
            })
        });
    match listened {
        Ok(_) => Ok(Support::Available),
        Err(e) => match e.errno {
            Errno::EPERM | Errno::EACCES => Ok(Support::missing(
                e,
                "run as root (CAP_PERFMON and CAP_SYS_ADMIN)",
            )),
            Errno::ENODEV | Errno::ENOENT | Errno::ENOSYS => Ok(Support::missing(
                e,
                "Linux 5.2 or later with CONFIG_EVENT_TRACING and CONFIG_PERF_EVENTS, and a \
                    seccomp policy that allows perf_event_open",
            )),
            _ => Err(e.into()),
        },
    }
}

/// `CN_IDX_PROC`, which is also the multicast group, and `CN_VAL_PROC`.
const CN_PROC: u32 = 1;
const PROC_CN_MCAST_LISTEN: u32 = 1;
const PROC_CN_MCAST_IGNORE: u32 = 2;

/// Feature `proc-connector`: listens, waits for the kernel's acknowledgement, stops listening.
///
/// Outside of the initial user and PID namespaces the kernel does not answer at all
/// (`cn_proc_mcast_ctl()`, drivers/connector/cn_proc.c). Answers go to all listeners, so a request
/// has a number by which its answer is recognised.
pub(in crate::host) fn proc_connector(_: &Host) -> Result<Support, ProbeError> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "any number will do that others have not taken"
    )]
    let number = crate::sys::time::now().0 as u32 ^ std::process::id();
    let order = |op: u32| {
        // struct cn_msg: idx, val, seq, ack, len, flags; then the operation.
        let mut payload = Vec::new();
        for word in [CN_PROC, CN_PROC, 0, number] {
            payload.extend(word.to_ne_bytes());
        }
        payload.extend(4u16.to_ne_bytes());
        payload.extend(0u16.to_ne_bytes());
        payload.extend(op.to_ne_bytes());
        payload
    };
    let tried = Socket::open(netlink::NETLINK_CONNECTOR, CN_PROC).and_then(|socket| {
        socket.send(netlink::NLMSG_DONE, false, &order(PROC_CN_MCAST_LISTEN))?;
        let answer = acknowledged(&socket, number);
        socket.send(netlink::NLMSG_DONE, false, &order(PROC_CN_MCAST_IGNORE))?;
        answer
    });
    let known = [
        (Errno::EPERM, "run as root (CAP_NET_ADMIN)"),
        (Errno::EPROTONOSUPPORT, "a kernel with CONFIG_CONNECTOR"),
        (
            Errno::ECONNREFUSED,
            "a kernel with CONFIG_PROC_EVENTS, and the initial network namespace",
        ),
        (
            Errno::ETIMEDOUT,
            "run in the initial user and PID namespaces: the kernel does not answer from others",
        ),
    ];
    answer("listen to the process connector", tried, &known)
}

/// Waits for the answer to request `number`: an event of no kind. Events of processes, and answers
/// to others, may come before it.
fn acknowledged(socket: &Socket, number: u32) -> Result<(), Errno> {
    let deadline = crate::sys::time::now() + ANSWER;
    loop {
        if deadline.has_passed() {
            return Err(Errno::ETIMEDOUT);
        }
        let message = socket.receive(deadline.remaining())?;
        let word = |at: usize| {
            Some(u32::from_ne_bytes(
                message.payload.get(at..at + 4)?.try_into().ok()?,
            ))
        };
        // struct cn_msg takes 20 bytes; then struct proc_event: what, cpu, timestamp, and here the
        // error.
        if (word(12), word(20)) == (Some(number.wrapping_add(1)), Some(0)) {
            return match word(36) {
                Some(0) => Ok(()),
                Some(errno) => Err(Errno::from_raw(i32::try_from(errno).unwrap_or(i32::MAX))),
                None => Err(Errno::EBADMSG),
            };
        }
    }
}

/// Feature `taskstats`: registers for exit reports of CPU 0, and deregisters.
pub(in crate::host) fn taskstats(_: &Host) -> Result<Support, ProbeError> {
    let tried =
        Socket::open(netlink::NETLINK_GENERIC, 0).and_then(|socket| register_taskstats(&socket));
    let known = [
        (Errno::ENOENT, "a kernel with CONFIG_TASKSTATS"),
        (
            Errno::EPERM,
            "run as root in the initial user namespace (CAP_NET_ADMIN)",
        ),
        (Errno::EINVAL, "run in the initial user and PID namespaces"),
        (Errno::EPROTONOSUPPORT, SECCOMP),
    ];
    answer("register for taskstats", tried, &known)
}

/// `CTRL_CMD_GETFAMILY`, `CTRL_ATTR_FAMILY_ID`, `CTRL_ATTR_FAMILY_NAME`.
const CTRL: (u8, u16, u16) = (3, 1, 2);
/// `TASKSTATS_CMD_GET`, `TASKSTATS_CMD_ATTR_REGISTER_CPUMASK`,
/// `TASKSTATS_CMD_ATTR_DEREGISTER_CPUMASK`.
const TASKSTATS: (u8, u16, u16) = (1, 3, 4);

fn register_taskstats(socket: &Socket) -> Result<(), Errno> {
    let request =
        |command: u8, attribute: Vec<u8>| [&[command, 1, 0, 0], attribute.as_slice()].concat();
    socket.send(
        netlink::GENL_ID_CTRL,
        false,
        &request(CTRL.0, attribute(CTRL.2, b"TASKSTATS\0")),
    )?;
    let reply = socket.receive(ANSWER)?;
    if reply.kind == netlink::NLMSG_ERROR {
        return Err(reply.error().unwrap_or(Errno::EBADMSG));
    }
    let id = reply
        .payload
        .get(4..)
        .and_then(|attributes| find_attribute(attributes, CTRL.1));
    let family = u16::from_ne_bytes(id.and_then(|b| b.try_into().ok()).ok_or(Errno::EBADMSG)?);
    for command in [TASKSTATS.1, TASKSTATS.2] {
        socket.send(
            family,
            true,
            &request(TASKSTATS.0, attribute(command, b"0\0")),
        )?;
        // Exit reports may come before the acknowledgement.
        let reply = loop {
            let message = socket.receive(ANSWER)?;
            if message.kind == netlink::NLMSG_ERROR {
                break message;
            }
        };
        if let Some(errno) = reply.error() {
            return Err(errno);
        }
    }
    Ok(())
}
