//! Listen to the kernel's accounting of exits (taskstats, generic netlink), and read `populated`
//! after each.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use super::common::hinted::{Hinted, Source, Taken};
use super::common::probe;
use super::{Counters, DetectError, Detector, DetectorSpec, Wake, Watch};
use crate::error::SysError;
use crate::expect::Scope;
use crate::sys::netlink::{self, Socket};
use allgone::Effects;
use allgone::ProcessSet;
use allgone::detect::limit;
use allgone::host::{Host, KernelVersion, ProbeError, Support};
use allgone::spawn::SpawnOptions;

/// A listener registered for every CPU. A message names a process that has just ended, but no
/// cgroup, so each exit on the whole machine is a hint to read the state.
#[derive(Debug)]
pub(super) struct Taskstats;

static SPEC: DetectorSpec = DetectorSpec {
    id: "taskstats",
    summary: "Registers for the taskstats of every exiting thread on the machine and reads \
        populated after each message.",
    scope: Scope::Cgroup,
    wake: Wake::Event,
    signal: super::Signal::Emptiness,
    effects: Effects::descriptors(4),
    since: KernelVersion(4, 5),
    privilege: "CAP_NET_ADMIN in the initial network and PID namespace",
    escapes: "a process that has been moved out of the cgroup",
    early: "",
    late: "the message comes before the process has even given up its memory, so up to one of the \
        bounded re-reads that follow (20 us, doubling); after about 10 ms without a flip the next \
        exit or event of cgroup.events is waited for",
    idle_cost: "nothing on an idle machine; else a wake-up and about ten reads for every thread \
        that exits anywhere: a message cannot be filtered in the kernel, because it names a \
        process but no cgroup",
    overflow: "ENOBUFS is counted, and the state is read again",
    loses_on_removal: false,
    sources: &[
        "Documentation/accounting/taskstats.rst",
        "kernel/taskstats.c: taskstats_exit()",
    ],
    axes: &[],
};

impl Detector for Taskstats {
    fn spec(&self) -> &'static DetectorSpec {
        &SPEC
    }

    fn probe(&self, host: &Host) -> Result<Support, ProbeError> {
        match register() {
            Err(DetectError::Sys(e)) => match e.errno {
                Errno::EPERM => Ok(Support::missing(e, "CAP_NET_ADMIN")),
                Errno::ENOENT | Errno::EPROTONOSUPPORT => {
                    Ok(Support::missing(e, "a kernel with CONFIG_TASKSTATS"))
                }
                Errno::EINVAL => Ok(Support::missing(e, "the initial PID and user namespace")),
                _ => Err(e.into()),
            },
            Ok(_) => probe::events(host),
            Err(e) => probe::armed::<()>(Err(e)),
        }
    }

    fn arm(&self, set: &ProcessSet, _: &mut SpawnOptions) -> Result<Box<dyn Watch>, DetectError> {
        Ok(Box::new(Hinted::new(Listening(register()?), set.cgroup())?))
    }
}

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;
/// `GENL_ID_CTRL`.
const CONTROLLER: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const TASKSTATS_CMD_GET: u8 = 1;
const TASKSTATS_CMD_ATTR_REGISTER_CPUMASK: u16 = 3;

/// A generic netlink command with one attribute.
fn command(command: u8, attribute: u16, value: &[u8]) -> Vec<u8> {
    let mut payload = vec![command, 1, 0, 0];
    payload.extend(
        u16::try_from(4 + value.len())
            .unwrap_or(u16::MAX)
            .to_ne_bytes(),
    );
    payload.extend(attribute.to_ne_bytes());
    payload.extend(value);
    payload.resize(payload.len().next_multiple_of(4), 0);
    payload
}

/// Sends one command and returns the answer's payload; empty for a bare acknowledgement.
///
/// Exits may be told to this socket before it has registered: a registration outlives its socket
/// until the next exit, and belongs to whichever socket has the same port, which is the process's
/// number.
fn ask(socket: &Socket, family: u16, payload: &[u8]) -> Result<Vec<u8>, Errno> {
    socket.send(&netlink::message(
        family,
        NLM_F_REQUEST | NLM_F_ACK,
        payload,
    ))?;
    let mut answer = Vec::new();
    let mut buffer = [0u8; 8192];
    // The kernel answers within the system call, so everything is there already.
    loop {
        let datagram = socket.receive(&mut buffer)?;
        if let Some(done) = collect(datagram, family, &mut answer) {
            return done.map(|()| answer);
        }
    }
}

/// Takes the answer of `family` from a datagram. `Some`: the acknowledgement was in it, or the
/// refusal.
fn collect(datagram: &[u8], family: u16, answer: &mut Vec<u8>) -> Option<Result<(), Errno>> {
    for message in netlink::messages(datagram) {
        if message.kind == family {
            *answer = message.payload.to_vec();
        } else if message.kind == NLMSG_ERROR {
            let code = message
                .payload
                .first_chunk::<4>()
                .map_or(-nix::libc::EIO, |c| i32::from_ne_bytes(*c));
            return Some(match code {
                0 => Ok(()),
                _ => Err(Errno::from_raw(-code)),
            });
        }
    }
    None
}

/// The value of attribute `kind` behind a generic netlink header.
fn attribute(payload: &[u8], kind: u16) -> Option<&[u8]> {
    let mut rest = payload.get(4..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let found = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
        let value = rest.get(4..length)?;
        if found == kind {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

fn register() -> Result<Socket, DetectError> {
    let socket = Socket::open(netlink::GENERIC, 0)
        .map_err(|e| limit::descriptor(SysError::plain("open a netlink socket", e)))?;
    let answer = ask(
        &socket,
        CONTROLLER,
        &command(CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, b"TASKSTATS\0"),
    )
    .map_err(|e| SysError::plain("find the netlink family TASKSTATS", e))?;
    let family = attribute(&answer, CTRL_ATTR_FAMILY_ID)
        .and_then(|v| v.try_into().ok())
        .map(u16::from_ne_bytes)
        .ok_or_else(|| SysError::plain("find the netlink family TASKSTATS", Errno::ENOENT))?;
    let source = "/sys/devices/system/cpu/possible";
    let mut cpus = std::fs::read_to_string(source)
        .map_err(|e| SysError::io("read", crate::Target::Path(source.into()), &e))?;
    cpus.truncate(cpus.trim_end().len());
    cpus.push('\0');
    ask(
        &socket,
        family,
        &command(
            TASKSTATS_CMD_GET,
            TASKSTATS_CMD_ATTR_REGISTER_CPUMASK,
            cpus.as_bytes(),
        ),
    )
    .map_err(|e| SysError::plain("register for taskstats", e))?;
    Ok(socket)
}

/// A registered socket; closing it ends the registration.
#[derive(Debug)]
struct Listening(Socket);

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Source for Listening {
    const AHEAD: bool = true;

    fn take(&mut self, counters: &mut Counters) -> Result<Taken, DetectError> {
        let mut taken = Taken::Nothing;
        let mut buffer = [0u8; 4096];
        loop {
            match self.0.receive(&mut buffer) {
                Ok(_) => taken = Taken::Hint,
                Err(Errno::ENOBUFS) => {
                    counters.overflows += 1;
                    taken = Taken::Hint;
                }
                Err(Errno::EAGAIN) => return Ok(taken),
                Err(Errno::EINTR) => {}
                Err(e) => return Err(SysError::plain("receive taskstats", e).into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_that_is_told_meanwhile_is_no_answer() {
        const OTHER: u16 = CONTROLLER + 7;
        let mut answer = Vec::new();
        for (kind, payload) in [(CONTROLLER, b"mine"), (OTHER, b"exit")] {
            let told = netlink::message(kind, 0, payload);
            assert_eq!(collect(&told, CONTROLLER, &mut answer), None);
        }
        let done = netlink::message(NLMSG_ERROR, 0, &0i32.to_ne_bytes());
        assert_eq!(collect(&done, CONTROLLER, &mut answer), Some(Ok(())));
        assert_eq!(answer, b"mine");
        let refused = netlink::message(NLMSG_ERROR, 0, &(-1i32).to_ne_bytes());
        let refused = collect(&refused, CONTROLLER, &mut answer);
        assert_eq!(refused, Some(Err(Errno::EPERM)));
    }

    #[test]
    fn attributes_are_found_behind_others() {
        let mut payload = command(1, 7, b"abc");
        payload.extend_from_slice(&command(1, 9, &[1, 2])[4..]);
        assert_eq!(attribute(&payload, 7), Some(&b"abc"[..]));
        assert_eq!(attribute(&payload, 9), Some(&[1u8, 2][..]));
        assert_eq!(attribute(&payload, 8), None);
        assert_eq!(attribute(&[0; 8], 1), None, "a length of zero ends it");
    }
}
