//! The kernel's own checkers: whether those that it has were still on when all was over.
//!
//! lockdep prints one message and turns itself off, at its first report or when it runs out of
//! room, and checks nothing from then on. The console is searched for that message, but a console
//! can lose lines.

use std::fs;
use std::io;

use anyhow::{Context, Result, bail};

/// Lockdep's own account (kernel/locking/lockdep_proc.c).
const LOCKDEP_STATS: &str = "/proc/lockdep_stats";

/// The checkers that are on, in words; nothing if the kernel has none that can be asked.
///
/// # Errors
/// When one has turned itself off, or does not say whether it is on.
pub(crate) fn still_on() -> Result<String> {
    match fs::read_to_string(LOCKDEP_STATS) {
        Ok(text) => lockdep(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("read {LOCKDEP_STATS}")),
    }
}

fn lockdep(stats: &str) -> Result<String> {
    let value = |name: &str| {
        let rest = stats
            .lines()
            .find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(':'))?;
        rest.split_whitespace().next()
    };
    let classes = value("lock-classes").unwrap_or("?");
    match value("debug_locks") {
        Some("1") => Ok(format!("lockdep is on, {classes} lock classes")),
        Some(other) => bail!(
            "lockdep had turned itself off by the end ({LOCKDEP_STATS}: debug_locks is {other}), \
                so what this kernel did has not been checked"
        ),
        None => bail!("{LOCKDEP_STATS} has no line debug_locks: whether lockdep is on is unknown"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As 7.3-rc7 prints it, shortened.
    fn stats(debug_locks: &str) -> String {
        format!(
            " lock-classes:                          672 [max: 8192]\n \
            direct dependencies:                  3212 [max: 32768]\n \
            debug_locks:                   {debug_locks:>11}\n\n \
            zapped classes:                          0\n"
        )
    }

    #[test]
    fn lockdep_that_is_on_is_told_with_its_classes() {
        assert_eq!(
            lockdep(&stats("1")).unwrap(),
            "lockdep is on, 672 lock classes"
        );
    }

    #[test]
    fn lockdep_that_is_off_or_does_not_say_fails_the_machine() {
        let off = lockdep(&stats("0")).unwrap_err().to_string();
        assert!(off.contains("turned itself off"), "{off}");
        let unknown = lockdep("lock-classes: 1\n").unwrap_err().to_string();
        assert!(unknown.contains("unknown"), "{unknown}");
    }
}
