//! Programs on a cgroup's network: which addresses its members may exchange packets with, connect
//! to and bind.
//!
//! Each looks an address up in two tries of prefixes: those that are allowed, with ports, and those
//! that are refused. What is in neither is allowed. They are attached to the cgroup itself and not
//! by a link, so they outlive the process that attached them.
//!
//! Sources: bpf(2); include/uapi/linux/bpf.h (`struct __sk_buff`, `struct bpf_sock_addr`);
//! Documentation/bpf/map_lpm_trie.rst; RFC 791, RFC 8200. Linux 4.17. Privilege: `CAP_BPF` and
//! `CAP_NET_ADMIN` (`CAP_SYS_ADMIN` before 5.8).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::assembler::{Assembler, Label};
use super::call;
use super::insn::{Insn, MAP_LOOKUP_ELEM, Reg, Width};

const MAP_TYPE_LPM_TRIE: u32 = 11;
const NO_PREALLOC: u32 = 1;
const PROG_TYPE_CGROUP_SKB: u32 = 8;
const PROG_TYPE_CGROUP_SOCK_ADDR: u32 = 18;
const ALLOW_MULTI: u32 = 2;
/// `bpf_skb_load_bytes(skb, offset, to, size)`.
const SKB_LOAD_BYTES: i32 = 26;

/// How many ports one allowed prefix may have.
pub const PORTS: usize = 4;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Bytes of an address.
    pub const fn bytes(self) -> usize {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }
}

/// What a program decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A packet that is sent.
    Egress,
    /// A packet that is received.
    Ingress,
    /// connect(2) by IPv4.
    Connect4,
    /// connect(2) by IPv6, or by IPv4 in an IPv6 socket.
    Connect6,
    /// bind(2) by IPv4: to no port of one's choice.
    Bind4,
    /// bind(2) by IPv6: likewise.
    Bind6,
}

impl Hook {
    /// All.
    pub const ALL: [Self; 6] = [
        Self::Egress,
        Self::Ingress,
        Self::Connect4,
        Self::Connect6,
        Self::Bind4,
        Self::Bind6,
    ];

    /// `BPF_CGROUP_…`.
    fn attach_type(self) -> u32 {
        match self {
            Self::Ingress => 0,
            Self::Egress => 1,
            Self::Bind4 => 8,
            Self::Bind6 => 9,
            Self::Connect4 => 10,
            Self::Connect6 => 11,
        }
    }

    fn program_type(self) -> u32 {
        match self {
            Self::Egress | Self::Ingress => PROG_TYPE_CGROUP_SKB,
            _ => PROG_TYPE_CGROUP_SOCK_ADDR,
        }
    }
}

/// Prefixes of addresses, each with a number; the longest that fits counts.
#[derive(Debug)]
struct Trie {
    map: OwnedFd,
    family: Family,
}

impl Trie {
    fn create(family: Family, entries: u32) -> Result<Self, Errno> {
        let map = call::Map {
            kind: MAP_TYPE_LPM_TRIE,
            key_bytes: if family == Family::V4 { 8 } else { 20 },
            value_bytes: 8,
            entries,
            flags: NO_PREALLOC,
        };
        let map = map.create()?;
        Ok(Self { map, family })
    }

    fn insert(&self, address: &[u8], length: u32, value: u64) -> Result<(), Errno> {
        if address.len() != self.family.bytes() {
            return Err(Errno::EINVAL);
        }
        let mut key = length.to_ne_bytes().to_vec();
        key.extend(address);
        call::update(self.map.as_fd(), &key, value)
    }
}

/// The tries of one family.
#[derive(Debug)]
struct Tries {
    allowed: Trie,
    refused: Trie,
}

/// What the programs look addresses up in.
#[derive(Debug)]
pub struct Addresses {
    v4: Tries,
    v6: Tries,
}

impl Addresses {
    /// Empty ones, for so many prefixes each. Errors: `EPERM`, `ENOMEM`, `ENOSYS`.
    pub fn create(entries: u32) -> Result<Self, Errno> {
        let tries = |family| {
            Ok::<_, Errno>(Tries {
                allowed: Trie::create(family, entries)?,
                refused: Trie::create(family, entries)?,
            })
        };
        Ok(Self {
            v4: tries(Family::V4)?,
            v6: tries(Family::V6)?,
        })
    }

    fn of(&self, family: Family) -> &Tries {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    /// Refuses a prefix, from now on. `address` in network order. Errors: `EINVAL` it does not fit
    /// the family, `ENOSPC` no room.
    pub fn refuse(&self, family: Family, address: &[u8], length: u32) -> Result<(), Errno> {
        self.of(family).refused.insert(address, length, 1)
    }

    /// Allows a prefix, whatever refuses it: these ports, or all if there is none. Replaces what
    /// was said of the same prefix before. Errors: as [`Addresses::refuse`]; `E2BIG` more than
    /// [`PORTS`].
    pub fn allow(
        &self,
        family: Family,
        address: &[u8],
        length: u32,
        ports: &[u16],
    ) -> Result<(), Errno> {
        if ports.len() > PORTS {
            return Err(Errno::E2BIG);
        }
        // As they are loaded from a packet.
        let packed = (0..).zip(ports).fold(0, |all, (at, port)| {
            all | (u64::from(port.to_be()) << (16 * at))
        });
        self.of(family).allowed.insert(address, length, packed)
    }

    /// The program for `hook`, loaded. Errors: `EPERM`; `EINVAL` or `EACCES` from the verifier.
    pub fn program(&self, hook: Hook) -> Result<OwnedFd, Errno> {
        let program = self.assemble(hook)?;
        call::Program::load(hook.program_type(), hook.attach_type(), &program, None)
    }

    fn assemble(&self, hook: Hook) -> Result<Vec<Insn>, Errno> {
        let mut code = Assembler::new();
        // The context survives calls here.
        code.push(Insn::mov(Reg::R6, Reg::R1));
        match hook {
            Hook::Egress => self.packet(&mut code, true),
            Hook::Ingress => self.packet(&mut code, false),
            Hook::Connect4 => {
                code.push(Insn::load(Width::W, Reg::R1, Reg::R6, USER_IP4));
                code.push(Insn::store(Width::W, Reg::R10, KEY4 + 4, Reg::R1));
                code.push(Insn::load(Width::W, Reg::R9, Reg::R6, USER_PORT));
                self.decide(&mut code, Family::V4);
            }
            Hook::Connect6 => self.connect6(&mut code),
            Hook::Bind4 | Hook::Bind6 => {
                code.push(Insn::load(Width::W, Reg::R1, Reg::R6, USER_PORT));
                code.jump(Insn::skip_eq(Reg::R1, 0, 0), Label::Allow);
            }
        }
        code.finish()
    }

    /// A packet. Everything that is no plain IP is refused: options and routing headers could name
    /// further addresses.
    fn packet(&self, code: &mut Assembler, sent: bool) {
        load_bytes(code, 0, BYTES, 1);
        code.push(Insn::load(Width::B, Reg::R7, Reg::R10, BYTES));
        code.push(Insn::mov(Reg::R8, Reg::R7));
        code.push(Insn::shift_right(Reg::R8, 4));
        code.jump(Insn::skip_eq(Reg::R8, 6, 0), Label::V6);
        // Version 4, and a header of five words.
        code.jump(Insn::skip_ne(Reg::R7, 0x45, 0), Label::Refuse);
        load_bytes(code, if sent { 16 } else { 12 }, KEY4 + 4, 4);
        code.push(Insn::set(Reg::R9, -1));
        load_bytes(code, 6, BYTES, 4);
        code.push(Insn::load(Width::H, Reg::R1, Reg::R10, BYTES));
        // Where in the whole the fragment is: only the first has ports.
        code.push(Insn::and(Reg::R1, i32::from(0x1fffu16.to_be())));
        code.jump(Insn::skip_ne(Reg::R1, 0, 0), Label::Ported4);
        code.push(Insn::load(Width::B, Reg::R1, Reg::R10, BYTES + 3));
        port(
            code,
            20 + if sent { 2 } else { 0 },
            Label::Port4,
            Label::Ported4,
        );
        code.label(Label::Ported4);
        self.decide(code, Family::V4);

        code.label(Label::V6);
        load_bytes(code, if sent { 24 } else { 8 }, KEY6 + 4, 16);
        code.push(Insn::set(Reg::R9, -1));
        load_bytes(code, 6, BYTES, 1);
        code.push(Insn::load(Width::B, Reg::R1, Reg::R10, BYTES));
        // Hop-by-hop options and a routing header.
        code.jump(Insn::skip_eq(Reg::R1, 0, 0), Label::Refuse);
        code.jump(Insn::skip_eq(Reg::R1, 43, 0), Label::Refuse);
        port(
            code,
            40 + if sent { 2 } else { 0 },
            Label::Port6,
            Label::Ported6,
        );
        code.label(Label::Ported6);
        self.decide(code, Family::V6);
    }

    /// An IPv6 socket connects to an IPv4 address as `::ffff:a.b.c.d`, and the packets are IPv4.
    fn connect6(&self, code: &mut Assembler) {
        for word in 0..4 {
            code.push(Insn::load(Width::W, Reg::R1, Reg::R6, USER_IP6 + 4 * word));
            code.push(Insn::store(
                Width::W,
                Reg::R10,
                KEY6 + 4 + 4 * word,
                Reg::R1,
            ));
        }
        code.push(Insn::load(Width::W, Reg::R9, Reg::R6, USER_PORT));
        for (width, at, expected) in [
            (Width::W, 0, 0),
            (Width::W, 4, 0),
            (Width::H, 8, 0),
            (Width::H, 10, 0xffff),
        ] {
            code.push(Insn::load(width, Reg::R1, Reg::R10, KEY6 + 4 + at));
            code.jump(Insn::skip_ne(Reg::R1, expected, 0), Label::V6);
        }
        code.push(Insn::load(Width::W, Reg::R1, Reg::R10, KEY6 + 16));
        code.push(Insn::store(Width::W, Reg::R10, KEY4 + 4, Reg::R1));
        self.decide(code, Family::V4);
        code.label(Label::V6);
        self.decide(code, Family::V6);
    }

    /// Decides by the address behind the key's length, and the port in R9, which is -1 if there is
    /// none.
    fn decide(&self, code: &mut Assembler, family: Family) {
        let (key, listed) = match family {
            Family::V4 => (KEY4, Label::Unlisted4),
            Family::V6 => (KEY6, Label::Unlisted6),
        };
        let bits = if family == Family::V4 { 32 } else { 128 };
        let tries = self.of(family);
        code.push(Insn::set(Reg::R1, bits));
        code.push(Insn::store(Width::W, Reg::R10, key, Reg::R1));
        lookup(code, tries.allowed.map.as_fd(), key);
        code.jump(Insn::skip_eq(Reg::R0, 0, 0), listed);
        code.push(Insn::load(Width::Dw, Reg::R1, Reg::R0, 0));
        code.jump(Insn::skip_eq(Reg::R1, 0, 0), Label::Allow);
        for _ in 0..PORTS {
            code.push(Insn::mov(Reg::R2, Reg::R1));
            code.push(Insn::and(Reg::R2, 0xffff));
            code.jump(Insn::skip_eq_reg(Reg::R2, Reg::R9, 0), Label::Allow);
            code.push(Insn::shift_right(Reg::R1, 16));
        }
        code.label(listed);
        lookup(code, tries.refused.map.as_fd(), key);
        code.jump(Insn::skip_eq(Reg::R0, 0, 0), Label::Allow);
        code.jump(Insn::goto(0), Label::Refuse);
    }
}

/// Where on the stack the keys are: a length, then the address.
const KEY4: i16 = -8;
const KEY6: i16 = -32;
/// And bytes of a packet.
const BYTES: i16 = -40;

/// Offsets in `struct bpf_sock_addr`.
const USER_IP4: i16 = 4;
const USER_IP6: i16 = 8;
const USER_PORT: i16 = 24;

/// Bytes of the packet to the stack; a packet that has them not is refused.
fn load_bytes(code: &mut Assembler, offset: i32, to: i16, count: i32) {
    code.push(Insn::mov(Reg::R1, Reg::R6));
    code.push(Insn::set(Reg::R2, offset));
    code.push(Insn::mov(Reg::R3, Reg::R10));
    code.push(Insn::add(Reg::R3, i32::from(to)));
    code.push(Insn::set(Reg::R4, count));
    code.push(Insn::call(SKB_LOAD_BYTES));
    code.jump(Insn::skip_ne(Reg::R0, 0, 0), Label::Refuse);
}

/// The port at `offset` to R9 if the protocol in R1 is TCP or UDP.
fn port(code: &mut Assembler, offset: i32, has: Label, after: Label) {
    code.jump(Insn::skip_eq(Reg::R1, libc::IPPROTO_TCP, 0), has);
    code.jump(Insn::skip_ne(Reg::R1, libc::IPPROTO_UDP, 0), after);
    code.label(has);
    load_bytes(code, offset, BYTES, 2);
    code.push(Insn::load(Width::H, Reg::R9, Reg::R10, BYTES));
}

fn lookup(code: &mut Assembler, map: BorrowedFd<'_>, key: i16) {
    for insn in Insn::set_map(Reg::R1, map) {
        code.push(insn);
    }
    code.push(Insn::mov(Reg::R2, Reg::R10));
    code.push(Insn::add(Reg::R2, i32::from(key)));
    code.push(Insn::call(MAP_LOOKUP_ELEM));
}

/// Attaches a loaded program to a cgroup, beside those that are there. Async-signal-safe.
///
/// Source: bpf(2) `BPF_PROG_ATTACH`. Errors: `EPERM` also if a program above forbids others.
pub fn attach(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>, hook: Hook) -> Result<(), Errno> {
    call::attach(program, cgroup, hook.attach_type(), ALLOW_MULTI)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_passes_the_verifier_or_bpf_is_refused() {
        let addresses = match Addresses::create(64) {
            Ok(addresses) => addresses,
            Err(errno) => {
                assert!(matches!(errno, Errno::EPERM | Errno::ENOSYS), "{errno}");
                return;
            }
        };
        for hook in Hook::ALL {
            let program = addresses.assemble(hook).unwrap();
            addresses
                .program(hook)
                .unwrap_or_else(|e| panic!("{hook:?}: {e}: {program:?}"));
        }
        let (v4, v6) = (Family::V4, Family::V6);
        assert_eq!(addresses.refuse(v4, &[10, 0, 0, 0], 8), Ok(()));
        assert_eq!(addresses.refuse(v6, &[10, 0, 0, 0], 8), Err(Errno::EINVAL));
        assert_eq!(addresses.allow(v6, &[0; 16], 128, &[53; 4]), Ok(()));
        let many = addresses.allow(v6, &[0; 16], 128, &[53; 5]);
        assert_eq!(many, Err(Errno::E2BIG));
    }
}
