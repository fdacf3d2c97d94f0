//! What the loaded policy says, asked of selinuxfs. For errors, reports and what may be refused
//! before anything is started; whether a program gets its context is decided by the kernel alone.
//!
//! Sources: security/selinux/selinuxfs.c, avc_has_perm(3).

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Where selinuxfs is.
pub(super) const AT: &str = "/sys/fs/selinux";

/// The policy's answer about one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Decision {
    allowed: u32,
    /// The source type is one that nothing is refused to.
    permissive: bool,
}

/// Whether this kernel has SELinux on. A container sees it without selinuxfs, too.
pub(super) fn is_on() -> bool {
    fs::read_to_string("/proc/filesystems")
        .is_ok_and(|text| text.lines().any(|line| line.ends_with("\tselinuxfs")))
}

/// The context of this thread.
pub(super) fn own() -> io::Result<String> {
    let text = fs::read_to_string("/proc/thread-self/attr/current")?;
    Ok(text.trim_end_matches(['\0', '\n']).to_owned())
}

/// Whether refusals are in force, and not only logged.
pub(super) fn enforces() -> io::Result<bool> {
    fs::read_to_string(Path::new(AT).join("enforce")).map(|text| text.trim() == "1")
}

/// Whether the policy has this context.
pub(super) fn has(context: &str) -> io::Result<bool> {
    match ask("context", context) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => Ok(false),
        Err(e) => Err(e),
    }
}

/// Whether nothing is refused to the type of this context.
pub(super) fn is_permissive(context: &str) -> io::Result<bool> {
    let class = number("class/process/index")?;
    let decision = decision(context, context, class)?;
    Ok(decision.permissive)
}

/// Whether the policy allows this. What it has no name for it allows or refuses as a whole.
pub(super) fn allows(from: &str, to: &str, class: &str, permission: &str) -> io::Result<bool> {
    let bit = match number(&format!("class/{class}/perms/{permission}")) {
        Ok(bit) => bit,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(number("deny_unknown")? == 0),
        Err(e) => return Err(e),
    };
    let class = number(&format!("class/{class}/index"))?;
    let decision = decision(from, to, class)?;
    let bit = 1u32.checked_shl(bit.saturating_sub(1)).unwrap_or(0);
    Ok(decision.permissive || decision.allowed & bit != 0)
}

/// Whether the policy can allow a change of context under `no_new_privs` at all (Linux 4.14).
pub(super) fn knows_no_new_privs() -> bool {
    number("policy_capabilities/nnp_nosuid_transition").is_ok_and(|on| on == 1)
}

fn decision(from: &str, to: &str, class: u32) -> io::Result<Decision> {
    let answer = ask("access", &format!("{from} {to} {class}"))?;
    parse(&answer).ok_or_else(|| io::Error::other(format!("{answer:?} is no decision")))
}

/// `ALLOWED FFFFFFFF AUDITALLOW AUDITDENY SEQUENCE FLAGS`, in hexadecimal but the sequence.
fn parse(answer: &str) -> Option<Decision> {
    let mut words = answer.trim_end_matches('\0').split_whitespace();
    let allowed = u32::from_str_radix(words.next()?, 16).ok()?;
    let flags = u32::from_str_radix(words.nth(4)?, 16).ok()?;
    let permissive = flags & 1 != 0;
    Some(Decision {
        allowed,
        permissive,
    })
}

fn number(file: &str) -> io::Result<u32> {
    let text = fs::read_to_string(Path::new(AT).join(file))?;
    let text = text.trim();
    text.parse()
        .map_err(|_| io::Error::other(format!("{file} says {text:?}")))
}

/// One question and its answer, by one open file.
fn ask(file: &str, question: &str) -> io::Result<String> {
    let path: PathBuf = Path::new(AT).join(file);
    let mut file = fs::File::options().read(true).write(true).open(path)?;
    file.write_all(question.as_bytes())?;
    let mut room = [0; 4096];
    let length = file.read(&mut room)?;
    Ok(String::from_utf8_lossy(&room[..length]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_read() {
        let read = parse("10003 ffffffff 0 fffffffb 7 1\0");
        let expected = Decision {
            allowed: 0x1_0003,
            permissive: true,
        };
        assert_eq!(read, Some(expected));
        assert_eq!(
            parse("2 ffffffff 0 0 1 0").map(|d| d.permissive),
            Some(false)
        );
        assert_eq!(parse("2 ffffffff"), None);
        assert_eq!(parse(""), None);
    }
}
