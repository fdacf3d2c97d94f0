//! A program with names for its jumps' targets.

use nix::errno::Errno;

use super::insn::{Insn, Reg};

/// Where a program can jump to, forwards only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    V6,
    Port4,
    Ported4,
    Port6,
    Ported6,
    Unlisted4,
    Unlisted6,
    /// `return 1`.
    Allow,
    /// `return 0`, which is also what is reached by itself.
    Refuse,
}

/// A program under way.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    code: Vec<Insn>,
    jumps: Vec<(usize, Label)>,
    labels: Vec<(Label, usize)>,
}

impl Assembler {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn push(&mut self, insn: Insn) {
        self.code.push(insn);
    }

    /// A jump; its offset is set at the end.
    pub(super) fn jump(&mut self, condition: Insn, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.code.push(condition);
    }

    /// What follows is there.
    pub(super) fn label(&mut self, label: Label) {
        self.labels.push((label, self.code.len()));
    }

    /// Refuses, allows, and sets all jumps. `ERANGE`: too long; `EINVAL`: a target is missing.
    pub(super) fn finish(mut self) -> Result<Vec<Insn>, Errno> {
        for (label, answer) in [(Label::Refuse, 0), (Label::Allow, 1)] {
            self.label(label);
            self.push(Insn::set(Reg::R0, answer));
            self.push(Insn::exit());
        }
        for (at, to) in &self.jumps {
            let target = self.labels.iter().find(|(label, _)| label == to);
            let (_, target) = target.ok_or(Errno::EINVAL)?;
            let distance = target.checked_sub(at + 1).ok_or(Errno::EINVAL)?;
            let offset = i16::try_from(distance).map_err(|_| Errno::ERANGE)?;
            let jump = self.code.get_mut(*at).ok_or(Errno::EINVAL)?;
            *jump = jump.with_offset(offset);
        }
        Ok(self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_go_to_their_labels() {
        let mut code = Assembler::new();
        code.jump(Insn::skip_eq(Reg::R1, 0, 0), Label::Allow);
        code.jump(Insn::skip_eq(Reg::R1, 1, 0), Label::V6);
        code.push(Insn::mov(Reg::R2, Reg::R1));
        code.label(Label::V6);
        let program = code.finish().unwrap();
        assert_eq!(program[0], Insn::skip_eq(Reg::R1, 0, 4));
        assert_eq!(program[1], Insn::skip_eq(Reg::R1, 1, 1));
        assert_eq!(
            program[3..],
            [
                Insn::set(Reg::R0, 0),
                Insn::exit(),
                Insn::set(Reg::R0, 1),
                Insn::exit(),
            ]
        );
        let mut code = Assembler::new();
        code.jump(Insn::skip_eq(Reg::R1, 0, 0), Label::Port4);
        assert_eq!(code.finish(), Err(Errno::EINVAL));
    }
}
