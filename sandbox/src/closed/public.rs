//! `--net public`: the Internet without the local network, by programs on the job's cgroup.
//!
//! They are attached before the first process is born there, and stay until the cgroup is removed.
//! Addresses of the machine and its links are followed while the launcher lives, and with it ends
//! the job.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use allgone::sys::bpf::{Addresses, Hook, PORTS};
use allgone::sys::spawn::launch::{Need, Setup};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};
use nix::sys::socket::{bind, recv, socket};

use super::cidr::{Cidr, with_port};
use super::neighbours;
use super::options::Closed;
use super::special;
use crate::error::RunError;

/// Room for prefixes: those of the registries, of the machine and of the command line.
const ENTRIES: u32 = 65_536;

/// The programs and what they look up.
#[derive(Debug)]
pub(crate) struct Public {
    addresses: Addresses,
    programs: Vec<(Hook, OwnedFd)>,
    /// Says when addresses or routes change.
    changes: OwnedFd,
    resolvers: Vec<IpAddr>,
    dns: bool,
}

impl Public {
    /// Loads them. Errors: BPF is refused; /proc cannot be read; too many ports.
    pub(crate) fn of(closed: &Closed) -> Result<Self, RunError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(RunError::NotRoot("net public"));
        }
        let failed = |what| move |errno| RunError::Public { what, errno };
        let addresses = Addresses::create(ENTRIES).map_err(failed("make maps"))?;
        // Before they are read, so that no change is missed.
        let changes = changes().map_err(failed("follow addresses"))?;
        let resolvers = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let public = Self {
            addresses,
            programs: Vec::new(),
            changes,
            resolvers: neighbours::resolvers(&resolvers),
            dns: !closed.no_dns,
        };
        public.fill(closed)?;
        public.refuse_neighbours()?;
        let mut programs = Vec::new();
        for hook in Hook::ALL {
            let program = public.addresses.program(hook);
            programs.push((hook, program.map_err(failed("load a program"))?));
        }
        Ok(Self { programs, ..public })
    }

    fn fill(&self, closed: &Closed) -> Result<(), RunError> {
        let denied = closed.deny_net.iter().filter_map(|text| Cidr::parse(text));
        special::refused()
            .chain(denied)
            .try_for_each(|cidr| self.refuse(cidr))?;
        let mut allowed: BTreeMap<Cidr, Vec<u16>> = BTreeMap::new();
        let dns = self.resolvers.iter().filter(|_| self.dns);
        let dns = dns.map(|address| (Cidr::host(*address), Some(53)));
        let asked = closed.allow_net.iter().filter_map(|text| with_port(text));
        for (cidr, port) in dns.chain(asked) {
            let ports = allowed.entry(cidr).or_default();
            // Port 0 stands for all.
            ports.push(port.unwrap_or(0));
        }
        for (cidr, mut ports) in allowed {
            ports.sort_unstable();
            ports.dedup();
            if ports.first() == Some(&0) {
                ports.clear();
            }
            let (family, bytes) = (cidr.family(), cidr.bytes());
            if ports.len() > PORTS {
                let (what, errno) = ("allow more than four ports of a prefix", Errno::E2BIG);
                return Err(RunError::Public { what, errno });
            }
            self.addresses
                .allow(family, &bytes, cidr.length.into(), &ports)
                .map_err(|errno| {
                    let what = "allow a prefix";
                    RunError::Public { what, errno }
                })?;
        }
        Ok(())
    }

    fn refuse(&self, cidr: Cidr) -> Result<(), RunError> {
        self.addresses
            .refuse(cidr.family(), &cidr.bytes(), cidr.length.into())
            .map_err(|errno| {
                let what = "refuse a prefix";
                RunError::Public { what, errno }
            })
    }

    fn refuse_neighbours(&self) -> Result<(), RunError> {
        let found = neighbours::now().map_err(|e| {
            let errno = e.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
            let what = "read the machine's addresses";
            RunError::Public { what, errno }
        })?;
        found.into_iter().try_for_each(|cidr| self.refuse(cidr))
    }

    /// What init does when the cgroup is made.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (Setup<'_>, Need)> {
        self.programs.iter().map(|(hook, program)| {
            let (hook, program) = (*hook, program.as_fd());
            (Setup::Attach { program, hook }, Need::Required)
        })
    }

    /// What to wait for.
    pub(crate) fn changes(&self) -> BorrowedFd<'_> {
        self.changes.as_fd()
    }

    /// Takes in what has changed. An address that is gone stays refused. Errors: the new ones are
    /// not known, so the run has to be ended.
    pub(crate) fn follow(&self) -> Result<(), RunError> {
        let mut room = [0; 8192];
        loop {
            match recv(self.changes.as_raw_fd(), &mut room, MsgFlags::MSG_DONTWAIT) {
                // That some were lost is told once.
                Ok(_) | Err(Errno::EINTR | Errno::ENOBUFS) => {}
                Err(Errno::EAGAIN) => return self.refuse_neighbours(),
                Err(errno) => {
                    let what = "follow addresses";
                    return Err(RunError::Public { what, errno });
                }
            }
        }
    }

    /// What is outside of the promise.
    pub(crate) fn outside(&self) -> Vec<String> {
        let dns = match (self.dns, self.resolvers.is_empty()) {
            (false, _) => "names are not resolved (--no-dns)".to_owned(),
            (true, true) => "/etc/resolv.conf names no resolver".to_owned(),
            (true, false) => {
                let addresses: Vec<_> = self.resolvers.iter().map(ToString::to_string).collect();
                let addresses = addresses.join(", ");
                format!("port 53 of {addresses}: names are a channel to anywhere")
            }
        };
        vec!["the Internet".to_owned(), dns]
    }
}

/// A socket that tells of changes to addresses and routes.
fn changes() -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let protocol = SockProtocol::NetlinkRoute;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
    let groups = libc::RTMGRP_IPV4_IFADDR
        | libc::RTMGRP_IPV4_ROUTE
        | libc::RTMGRP_IPV6_IFADDR
        | libc::RTMGRP_IPV6_ROUTE;
    bind(
        socket.as_raw_fd(),
        &NetlinkAddr::new(0, groups.unsigned_abs()),
    )?;
    Ok(socket)
}
