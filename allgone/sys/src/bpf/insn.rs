//! Instructions, each with its meaning beside it, and the assembly of a program from them.
//!
//! Source: Documentation/bpf/standardization/instruction-set.rst; the helpers' numbers are those of
//! include/uapi/linux/bpf.h.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// One instruction (`struct bpf_insn`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Insn {
    code: u8,
    /// Destination in the low, source in the high half.
    regs: u8,
    off: i16,
    imm: i32,
}

/// Registers. `R10` is the frame pointer, `R0` the result, `R1` to `R5` are arguments, `R6` to `R9`
/// survive calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "they are just numbered")]
pub enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// Width of a load or store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// One byte.
    B = 0x10,
    /// Two.
    H = 0x08,
    /// Four.
    W = 0x00,
    /// Eight.
    Dw = 0x18,
}

impl Width {
    /// How many bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::B => 1,
            Self::H => 2,
            Self::W => 4,
            Self::Dw => 8,
        }
    }
}

/// `bpf_map_lookup_elem(map, key)`: the address of the value, or 0.
pub const MAP_LOOKUP_ELEM: i32 = 1;
/// `bpf_ktime_get_ns()`: `CLOCK_MONOTONIC`.
pub const KTIME_GET_NS: i32 = 5;
/// `bpf_probe_read_kernel_str(dst, size, src)` (Linux 5.5).
pub const PROBE_READ_KERNEL_STR: i32 = 115;
/// `bpf_get_current_ancestor_cgroup_id(level)` (Linux 5.6).
pub const CURRENT_ANCESTOR_CGROUP_ID: i32 = 123;
/// `bpf_ringbuf_output(ring, data, size, flags)` (Linux 5.8).
pub const RINGBUF_OUTPUT: i32 = 130;
/// `BPF_RB_FORCE_WAKEUP`: wake the reader even if it has not caught up.
pub const FORCE_WAKEUP: i32 = 2;

const fn insn(code: u8, dst: Reg, src: Reg, off: i16, imm: i32) -> Insn {
    Insn {
        code,
        regs: dst as u8 | (src as u8) << 4,
        off,
        imm,
    }
}

impl Insn {
    /// `dst = src`
    pub const fn mov(dst: Reg, src: Reg) -> Self {
        insn(0xbf, dst, src, 0, 0)
    }

    /// `dst = imm`
    pub const fn set(dst: Reg, imm: i32) -> Self {
        insn(0xb7, dst, Reg::R0, 0, imm)
    }

    /// `dst += imm`
    pub const fn add(dst: Reg, imm: i32) -> Self {
        insn(0x07, dst, Reg::R0, 0, imm)
    }

    /// `dst &= imm`
    pub const fn and(dst: Reg, imm: i32) -> Self {
        insn(0x57, dst, Reg::R0, 0, imm)
    }

    /// `dst >>= imm`
    pub const fn shift_right(dst: Reg, imm: i32) -> Self {
        insn(0x77, dst, Reg::R0, 0, imm)
    }

    /// `dst = *(width *)(src + off)`
    pub const fn load(width: Width, dst: Reg, src: Reg, off: i16) -> Self {
        insn(0x61 | width as u8, dst, src, off, 0)
    }

    /// `*(width *)(dst + off) = src`
    pub const fn store(width: Width, dst: Reg, off: i16, src: Reg) -> Self {
        insn(0x63 | width as u8, dst, src, off, 0)
    }

    /// `dst = value`, 64 bits; two instructions.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the two halves of the value are what is wanted"
    )]
    pub const fn set64(dst: Reg, value: u64) -> [Self; 2] {
        [
            insn(0x18, dst, Reg::R0, 0, value as i32),
            insn(0, Reg::R0, Reg::R0, 0, (value >> 32) as i32),
        ]
    }

    /// `dst = map`; two instructions.
    pub fn set_map(dst: Reg, map: BorrowedFd<'_>) -> [Self; 2] {
        // BPF_PSEUDO_MAP_FD in the source register.
        [
            insn(0x18, dst, Reg::R1, 0, map.as_raw_fd()),
            insn(0, Reg::R0, Reg::R0, 0, 0),
        ]
    }

    /// `if dst != imm goto +off`
    pub const fn skip_ne(dst: Reg, imm: i32, off: i16) -> Self {
        insn(0x55, dst, Reg::R0, off, imm)
    }

    /// `if dst == imm goto +off`
    pub const fn skip_eq(dst: Reg, imm: i32, off: i16) -> Self {
        insn(0x15, dst, Reg::R0, off, imm)
    }

    /// `goto +off`
    pub const fn goto(off: i16) -> Self {
        insn(0x05, Reg::R0, Reg::R0, off, 0)
    }

    /// `if dst == src goto +off`
    pub const fn skip_eq_reg(dst: Reg, src: Reg, off: i16) -> Self {
        insn(0x1d, dst, src, off, 0)
    }

    /// `if dst != src goto +off`
    pub const fn skip_ne_reg(dst: Reg, src: Reg, off: i16) -> Self {
        insn(0x5d, dst, src, off, 0)
    }

    /// `r0 = helper(r1 .. r5)`
    pub const fn call(helper: i32) -> Self {
        insn(0x85, Reg::R0, Reg::R0, 0, helper)
    }

    /// `return r0`
    pub const fn exit() -> Self {
        insn(0x95, Reg::R0, Reg::R0, 0, 0)
    }

    /// The same jump over another distance.
    pub(super) const fn with_offset(self, off: i16) -> Self {
        Self { off, ..self }
    }

    /// Whether this is a conditional jump still without a target, and if so the same with the
    /// target set.
    fn jump_to(self, off: i16) -> Option<Self> {
        (matches!(self.code, 0x15 | 0x55 | 0x5d) && self.off == TO_END)
            .then_some(Self { off, ..self })
    }
}

/// As the offset of a jump: to the common end, set by [`finish`].
pub const TO_END: i16 = i16::MAX;

/// Appends `return 0` and lets all jumps to [`TO_END`] go there. `ERANGE`: the program is too long
/// for its jumps.
pub fn finish(mut body: Vec<Insn>) -> Result<Vec<Insn>, Errno> {
    let end = body.len();
    for (at, insn) in body.iter_mut().enumerate() {
        let off = i16::try_from(end - at - 1).map_err(|_| Errno::ERANGE)?;
        if let Some(jump) = insn.jump_to(off) {
            *insn = jump;
        }
    }
    body.push(Insn::set(Reg::R0, 0));
    body.push(Insn::exit());
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_to_the_end_are_resolved() {
        let program = finish(vec![
            Insn::skip_ne(Reg::R1, 0, TO_END),
            Insn::skip_ne(Reg::R1, 0, 1),
            Insn::mov(Reg::R2, Reg::R1),
        ])
        .unwrap();
        assert_eq!(program.len(), 5);
        assert_eq!((program[0].off, program[1].off), (2, 1));
        assert_eq!(program[4], Insn::exit());
    }

    #[test]
    fn instructions_are_encoded_as_the_kernel_reads_them() {
        assert_eq!(size_of::<Insn>(), 8);
        let load = Insn::load(Width::Dw, Reg::R7, Reg::R6, 8);
        assert_eq!((load.code, load.regs, load.off), (0x79, 0x67, 8));
        let store = Insn::store(Width::Dw, Reg::R10, -8, Reg::R8);
        assert_eq!((store.code, store.regs), (0x7b, 0x8a));
        let [low, high] = Insn::set64(Reg::R2, 0x0123_4567_89ab_cdef);
        assert_eq!(
            (low.imm, high.imm),
            (0x89ab_cdef_u32.cast_signed(), 0x0123_4567)
        );
        assert_eq!(Width::W.bytes() + Width::H.bytes() + Width::B.bytes(), 7);
    }
}
