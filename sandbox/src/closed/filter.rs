//! From decisions about system calls to a filter: a binary search among ranges of numbers, so that
//! a call is decided after nine comparisons and not after hundreds, and the kernel, which plays the
//! filter for each number when it is installed, is soon done with that.
//!
//! Sources: seccomp(2), kernel/seccomp.c (`seccomp_is_const_allow()`).

use std::path::Path;

use allgone::sys::spawn::launch::{Instruction, answer, instruction, jump, load};
use nix::libc;

use super::calls::{Decision, END, SET_ID};
use crate::error::RunError;

#[cfg(target_arch = "x86_64")]
pub(crate) const ARCH: Option<u32> = Some(0xc000_003e);
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
pub(crate) const ARCH: Option<u32> = Some(0xc000_00b7);
#[cfg(not(any(
    target_arch = "x86_64",
    all(target_arch = "aarch64", target_endian = "little")
)))]
pub(crate) const ARCH: Option<u32> = None;

/// `BPF_MAXINSNS`.
const MOST: usize = 4096;
const NUMBER: u32 = 0;
const OF_ARCH: u32 = 4;
const NETLINK: u32 = 16;
const CREATE: u32 = (libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY)).unsigned_abs();

/// The filter. A program for another interface (i386, x32) is killed, or its calls are unknown.
pub(crate) fn compile(arch: u32, decisions: &[(libc::c_long, Decision)]) -> Vec<Instruction> {
    let mut program = vec![
        load(OF_ARCH),
        jump(libc::BPF_JEQ, arch, 1, 0),
        answer(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER),
    ];
    search(&ranges(decisions), &mut program);
    program
}

/// A filter from a file, as `seccomp_export_bpf(3)` writes it: instructions of this machine,
/// nothing else. The kernel checks them. Errors: it cannot be read, or is no filter.
pub(crate) fn read(path: &Path) -> Result<Vec<Instruction>, RunError> {
    let refused = |why: String| RunError::Filter {
        path: path.to_owned(),
        why,
    };
    let bytes = std::fs::read(path).map_err(|e| refused(e.to_string()))?;
    let (parts, rest) = bytes.as_chunks::<8>();
    if parts.is_empty() || !rest.is_empty() || parts.len() > MOST {
        let why = format!("it is no filter of 1 to {MOST} instructions");
        return Err(refused(why));
    }
    let instruction = |[a, b, jt, jf, k @ ..]: &[u8; 8]| Instruction {
        code: u16::from_ne_bytes([*a, *b]),
        jt: *jt,
        jf: *jf,
        k: u32::from_ne_bytes(*k),
    };
    Ok(parts.iter().map(instruction).collect())
}

/// From which number on what is decided, in order.
fn ranges(decisions: &[(libc::c_long, Decision)]) -> Vec<(u32, &Decision)> {
    let mut ranges: Vec<(u32, &Decision)> = Vec::new();
    for number in 0..END {
        let decided = decisions
            .iter()
            .find(|(known, _)| *known == libc::c_long::from(number));
        let decision = decided.map_or(&Decision::Allow, |(_, decision)| decision);
        if ranges.last().is_none_or(|(_, last)| *last != decision) {
            ranges.push((number, decision));
        }
    }
    ranges.push((END, &Decision::Refuse(libc::ENOSYS)));
    ranges
}

fn search(ranges: &[(u32, &Decision)], program: &mut Vec<Instruction>) {
    if let [(_, decision)] = ranges {
        return decide(decision, program);
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let mut lower = Vec::new();
    search(low, &mut lower);
    let middle = high.first().map_or(0, |(number, _)| *number);
    match u8::try_from(lower.len()) {
        Ok(length) => program.push(jump(libc::BPF_JGE, middle, length, 0)),
        // Conditional jumps do not reach so far.
        Err(_) => {
            let length = u32::try_from(lower.len()).unwrap_or(u32::MAX);
            program.push(jump(libc::BPF_JGE, middle, 0, 1));
            program.push(instruction(libc::BPF_JMP | libc::BPF_JA, 0, 0, length));
        }
    }
    program.append(&mut lower);
    search(high, program);
}

fn decide(decision: &Decision, program: &mut Vec<Instruction>) {
    const ALLOW: Instruction = answer(libc::SECCOMP_RET_ALLOW);
    let refuse = |errno: i32| answer(libc::SECCOMP_RET_ERRNO | errno.unsigned_abs());
    match *decision {
        Decision::Allow => program.push(ALLOW),
        Decision::Refuse(errno) => program.push(refuse(errno)),
        Decision::RefuseBits { arg, bits, errno } => program.extend([
            load(low(arg)),
            jump(libc::BPF_JSET, bits, 0, 1),
            refuse(errno),
            ALLOW,
        ]),
        Decision::RefuseValues { arg, values, errno } => {
            program.push(load(low(arg)));
            one_of(values, [ALLOW, refuse(errno)], program);
        }
        Decision::Only { arg, values, errno } => {
            program.push(load(low(arg)));
            one_of(values, [refuse(errno), ALLOW], program);
        }
        Decision::Create { flags, mode } => program.extend([
            load(low(flags)),
            jump(libc::BPF_JSET, CREATE, 0, 3),
            load(low(mode)),
            jump(libc::BPF_JSET, SET_ID, 0, 1),
            refuse(libc::EPERM),
            ALLOW,
        ]),
        Decision::Socket(families) => {
            let refused = refuse(libc::EAFNOSUPPORT);
            program.extend([
                load(low(0)),
                jump(libc::BPF_JEQ, NETLINK, 0, 4),
                load(low(2)),
                // The routing protocol is number 0.
                jump(libc::BPF_JEQ, 0, 1, 0),
                refused,
                load(low(0)),
            ]);
            one_of(families, [refused, ALLOW], program);
        }
    }
}

/// Answers with the second if what is loaded is one of `values`, with the first if it is none.
fn one_of(values: &[u32], answers: [Instruction; 2], program: &mut Vec<Instruction>) {
    for (left, value) in (0u8..)
        .zip(values.iter().rev())
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
    {
        program.push(jump(libc::BPF_JEQ, *value, left + 1, 0));
    }
    program.extend(answers);
}

/// Where the low half of an argument is, on a little-endian machine.
fn low(arg: u32) -> u32 {
    16 + 8 * arg
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::closed::calls::decisions;
    use crate::closed::options::Preset;

    /// What the kernel's interpreter would answer.
    fn asked(program: &[Instruction], arch: u32, number: u32, args: [u32; 6]) -> u32 {
        let (mut at, mut loaded) = (0usize, 0);
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            at += 1;
            let code = u32::from(code);
            if code == libc::BPF_JMP | libc::BPF_JA {
                at += k as usize;
                continue;
            }
            let holds = match code & 0xf7 {
                code if code & 7 == libc::BPF_RET => return k,
                code if code & 7 == libc::BPF_LD => {
                    loaded = match k {
                        NUMBER => number,
                        OF_ARCH => arch,
                        _ => args[((k - 16) / 8) as usize],
                    };
                    continue;
                }
                code => match code & 0xf0 {
                    libc::BPF_JEQ => loaded == k,
                    libc::BPF_JGE => loaded >= k,
                    libc::BPF_JSET => loaded & k != 0,
                    other => panic!("{other:#x}"),
                },
            };
            at += usize::from(if holds { jt } else { jf });
        }
    }

    fn errno(errno: i32) -> u32 {
        libc::SECCOMP_RET_ERRNO | errno.unsigned_abs()
    }

    #[test]
    fn each_number_is_decided_as_its_decision_says() {
        for preset in [Preset::Agent, Preset::Judge, Preset::Build] {
            let decisions = decisions(preset, true);
            let program = compile(7, &decisions);
            let answer = |number| asked(&program, 7, number, [0; 6]);
            for number in 0..END + 100 {
                let decided = decisions
                    .iter()
                    .find(|(known, _)| *known == libc::c_long::from(number));
                let expected = match decided.map(|(_, decision)| decision) {
                    _ if number >= END => errno(libc::ENOSYS),
                    Some(Decision::Refuse(error)) => errno(*error),
                    Some(Decision::Socket(_)) => errno(libc::EAFNOSUPPORT),
                    Some(Decision::Only {
                        values, errno: e, ..
                    }) if !values.contains(&0) => errno(*e),
                    _ => libc::SECCOMP_RET_ALLOW,
                };
                assert_eq!(answer(number), expected, "{preset:?} {number}");
            }
            // x32, and another machine.
            assert_eq!(answer(0x4000_0000), errno(libc::ENOSYS));
            let other = asked(&program, 8, 0, [0; 6]);
            assert_eq!(other, libc::SECCOMP_RET_KILL_PROCESS);
        }
    }

    #[test]
    fn arguments_are_looked_at() {
        let program = compile(7, &decisions(Preset::Agent, true));
        let answer = |number: libc::c_long, args: &[u32]| {
            let mut all = [0; 6];
            all[..args.len()].copy_from_slice(args);
            asked(&program, 7, u32::try_from(number).unwrap(), all)
        };
        const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
        let none = errno(libc::EAFNOSUPPORT);
        for (family, protocol, expected) in [
            (1, 0, ALLOW),
            (2, 6, ALLOW),
            (10, 17, ALLOW),
            (16, 0, ALLOW),
            // XFRM; and CRYPTO, whose number is that of a family that may be had.
            (16, 6, none),
            (16, 16, none),
            (16, 2, none),
            (17, 0, none),
            (38, 0, none),
            (33, 0, none),
            (40, 0, none),
            (44, 0, none),
        ] {
            let args = [family, 0, protocol];
            assert_eq!(answer(libc::SYS_socket, &args), expected, "{args:?}");
        }
        let no = errno(libc::EPERM);
        assert_eq!(answer(libc::SYS_socketpair, &[2]), none);
        assert_eq!(answer(libc::SYS_clone, &[0x0002_0011]), no);
        assert_eq!(answer(libc::SYS_clone, &[0x1000_0000]), no);
        assert_eq!(answer(libc::SYS_clone, &[0x003d_0f00]), ALLOW);
        assert_eq!(answer(libc::SYS_ioctl, &[1, 0x5412]), no);
        assert_eq!(answer(libc::SYS_ioctl, &[1, 0x5413]), ALLOW);
        assert_eq!(answer(libc::SYS_personality, &[0x40_0000]), no);
        assert_eq!(answer(libc::SYS_fchmod, &[3, 0o4755]), no);
        assert_eq!(answer(libc::SYS_fchmod, &[3, 0o1777]), ALLOW);
        assert_eq!(answer(libc::SYS_openat, &[0, 0, 0o101, 0o2755]), no);
        assert_eq!(answer(libc::SYS_openat, &[0, 0, 0o1, 0o2755]), ALLOW);
        assert_eq!(answer(libc::SYS_openat, &[0, 0, 0o2020_0001, 0o4700]), no);
    }

    #[test]
    fn it_is_short() {
        let program = compile(7, &decisions(Preset::Agent, true));
        assert!(program.len() < 400, "{}", program.len());
    }
}
