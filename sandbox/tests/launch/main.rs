//! The launcher as a library, with real processes.
//!
//! This program is the test, the host of its own when one has to be killed or measured, and the
//! parent of launchers.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "the whole program is a test"
)]

mod ends;
mod host;
mod many;
mod mistakes;
mod support;
mod systemd;
mod users;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

fn main() -> ExitCode {
    if let Some(code) = sandbox::launch::serve_if_asked() {
        return code;
    }
    if let Ok(role) = std::env::var(support::ROLE) {
        match role.as_str() {
            "many" => many::host(),
            "attacker" => users::attacker(),
            "in-systemd" => systemd::service(),
            "untouched" => host::to_be_untouched(),
            "killed" => host::to_be_killed(),
            other => panic!("no role {other}"),
        }
        return ExitCode::SUCCESS;
    }
    let mut tests: Vec<Trial> = Vec::new();
    for list in [
        ends::TESTS,
        host::TESTS,
        many::TESTS,
        mistakes::TESTS,
        systemd::TESTS,
    ] {
        tests.extend(list.iter().map(|(name, body)| {
            let body = *body;
            Trial::test(*name, move || {
                body();
                Ok(())
            })
        }));
    }
    for list in [users::NEEDY, systemd::NEEDY] {
        tests.extend(list.iter().map(|(needs, (name, body))| {
            let (needs, body) = (*needs, *body);
            Trial::ignorable_test(*name, move || match support::missing(needs) {
                Some(why) => Ok(Completion::ignored_with(why)),
                None => {
                    body();
                    Ok(Completion::Completed)
                }
            })
        }));
    }
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}
