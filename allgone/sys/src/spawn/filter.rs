//! A filter of system calls that keeps a traced tree whole: no process can be born outside of it.
//!
//! `CLONE_UNTRACED` is the one way to have a child that its parent's tracer does not get
//! (kernel/fork.c, `kernel_clone()`). clone(2) has its flags in a register, so a filter can refuse
//! that one. clone3(2) has them behind a pointer, which a filter cannot follow; it is answered as
//! by a kernel that does not know it, and C libraries then use clone(2). fork(2) and vfork(2) have
//! no flags.
//!
//! Sources: seccomp(2), clone(2), clone3(2), Documentation/userspace-api/seccomp_filter.rst.

use nix::errno::Errno;

use crate::check;

/// `struct sock_filter`.
pub type Instruction = libc::sock_filter;

/// An interface by which this machine's programs call the kernel.
#[derive(Clone, Copy, Debug)]
struct Interface {
    /// `AUDIT_ARCH_…`.
    arch: u32,
    /// The number of clone(2), which has its flags in the first argument.
    clone: u32,
    /// Numbers from here on are another interface with the same `arch` (x32), which is refused.
    end: u32,
}

/// The number of clone3(2), the same everywhere but on Alpha.
const CLONE3: u32 = 435;
const CLONE_UNTRACED: u32 = 0x0080_0000;

#[cfg(target_arch = "x86_64")]
const INTERFACES: &[Interface] = &[
    Interface {
        arch: 0xc000_003e,
        clone: 56,
        end: 0x4000_0000,
    },
    // Programs for i386.
    Interface {
        arch: 0x4000_0003,
        clone: 120,
        end: u32::MAX,
    },
];
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
const INTERFACES: &[Interface] = &[
    Interface {
        arch: 0xc000_00b7,
        clone: 220,
        end: u32::MAX,
    },
    // Programs for 32-bit ARM.
    Interface {
        arch: 0x4000_0028,
        clone: 120,
        end: u32::MAX,
    },
];
#[cfg(not(any(
    target_arch = "x86_64",
    all(target_arch = "aarch64", target_endian = "little")
)))]
const INTERFACES: &[Interface] = &[];

/// Offsets in `struct seccomp_data`; the low half of the first argument on a little-endian machine.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const FLAGS: u32 = 16;

/// The filter. Errors: `ENOSYS` on a machine whose numbers are not known here.
pub fn refusing_untraced() -> Result<Vec<Instruction>, Errno> {
    if INTERFACES.is_empty() {
        return Err(Errno::ENOSYS);
    }
    let refuse = |errno: i32| libc::SECCOMP_RET_ERRNO | errno.unsigned_abs();
    let mut program = vec![load(ARCH)];
    for interface in INTERFACES {
        program.extend([
            // Not this interface: on to the next one.
            jump(libc::BPF_JEQ, interface.arch, 0, 9),
            load(NUMBER),
            jump(libc::BPF_JGE, interface.end, 2, 0),
            jump(libc::BPF_JEQ, CLONE3, 1, 0),
            jump(libc::BPF_JEQ, interface.clone, 1, 4),
            answer(refuse(libc::ENOSYS)),
            load(FLAGS),
            jump(libc::BPF_JSET, CLONE_UNTRACED, 0, 1),
            answer(refuse(libc::EPERM)),
            answer(libc::SECCOMP_RET_ALLOW),
        ]);
    }
    program.push(answer(libc::SECCOMP_RET_KILL_PROCESS));
    Ok(program)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "classes, sizes, modes and conditions are all below 256"
)]
/// One instruction of classic BPF.
pub const fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

/// Loads four bytes of `struct seccomp_data`.
pub const fn load(offset: u32) -> Instruction {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

/// Compares what is loaded with `k`, and skips so many instructions.
pub const fn jump(condition: u32, k: u32, if_true: u8, if_false: u8) -> Instruction {
    instruction(
        libc::BPF_JMP | condition | libc::BPF_K,
        if_true,
        if_false,
        k,
    )
}

/// The answer to the call: `SECCOMP_RET_…`.
pub const fn answer(with: u32) -> Instruction {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, with)
}

/// Puts a filter on this process and all that it starts, for good (seccomp(2), Linux 4.17 for
/// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`, without which programs could become slower).
/// Async-signal-safe.
///
/// Errors: `EACCES` without `no_new_privs` or `CAP_SYS_ADMIN`, `EINVAL`, `ENOSYS`.
pub(super) fn install(filter: &[Instruction]) -> Result<(), Errno> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_| Errno::EINVAL)?,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel reads `len` instructions and writes none.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            std::ptr::from_ref(&program),
        )
    };
    check(ret).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel's interpreter would answer.
    fn asked(program: &[Instruction], arch: u32, number: u32, flags: u32) -> u32 {
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            at += 1;
            let condition = match u32::from(code) & 0xf7 {
                code if code & 7 == libc::BPF_RET => return k,
                code if code & 7 == libc::BPF_LD => {
                    accumulator = match k {
                        ARCH => arch,
                        NUMBER => number,
                        FLAGS => flags,
                        other => panic!("{other}"),
                    };
                    continue;
                }
                code => match code & 0xf0 {
                    libc::BPF_JEQ => accumulator == k,
                    libc::BPF_JGE => accumulator >= k,
                    libc::BPF_JSET => accumulator & k != 0,
                    other => panic!("{other:#x}"),
                },
            };
            at += usize::from(if condition { jt } else { jf });
        }
    }

    #[test]
    fn only_clones_out_of_the_trace_are_refused() {
        let Ok(program) = refusing_untraced() else {
            return;
        };
        let errno = |errno: i32| libc::SECCOMP_RET_ERRNO | errno.unsigned_abs();
        let thread = (libc::CLONE_VM | libc::CLONE_THREAD).unsigned_abs();
        for interface in INTERFACES {
            let asked = |number, flags| asked(&program, interface.arch, number, flags);
            assert_eq!(asked(interface.clone, 0), libc::SECCOMP_RET_ALLOW);
            assert_eq!(asked(interface.clone, thread), libc::SECCOMP_RET_ALLOW);
            for others in [0, thread, 17] {
                let flags = CLONE_UNTRACED | others;
                assert_eq!(asked(interface.clone, flags), errno(libc::EPERM));
                // The same bit of another call's argument means something else.
                assert_eq!(asked(1, flags), libc::SECCOMP_RET_ALLOW);
            }
            assert_eq!(asked(CLONE3, 0), errno(libc::ENOSYS));
            assert_eq!(asked(interface.end, 0), errno(libc::ENOSYS));
        }
        let stranger = asked(&program, 0x1234, 1, 0);
        assert_eq!(stranger, libc::SECCOMP_RET_KILL_PROCESS);
    }
}
