//! The text formats of cgroup files. Pure functions; anything unexpected is `None`, never a
//! default.

/// The content of `cgroup.events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events {
    /// Whether the cgroup or a descendant has a live process (a zombie does not count).
    pub populated: bool,
    /// Whether it is frozen. False where the kernel has no freezer for v2 (before 5.2).
    pub frozen: bool,
}

/// The content of `cgroup.procs`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Members {
    /// Process ids that the reader can name.
    pub pids: Vec<i32>,
    /// Members outside the reader's PID namespace, which the kernel lists as 0.
    pub foreign: usize,
}

impl Members {
    /// Whether no process is listed. Since Linux 6.19 this is not the same as unpopulated: exiting
    /// processes are hidden.
    pub fn is_empty(&self) -> bool {
        self.pids.is_empty() && self.foreign == 0
    }

    /// Adds the members of another cgroup.
    pub fn extend(&mut self, other: Self) {
        self.pids.extend(other.pids);
        self.foreign += other.foreign;
    }
}

/// Parses `cgroup.events`. Keys that are not known are skipped (the format is open); `populated`
/// must be there.
pub fn parse_events(content: &str) -> Option<Events> {
    let mut populated = None;
    let mut frozen = false;
    for line in content.lines() {
        let (key, value) = line.split_once(' ')?;
        let flag = match value {
            "0" => false,
            "1" => true,
            _ if key == "populated" || key == "frozen" => return None,
            _ => continue,
        };
        match key {
            "populated" => populated = Some(flag),
            "frozen" => frozen = flag,
            _ => {}
        }
    }
    Some(Events {
        populated: populated?,
        frozen,
    })
}

/// Parses `cgroup.procs` or `cgroup.threads`.
pub fn parse_members(content: &str) -> Option<Members> {
    let mut members = Members::default();
    for line in content.lines() {
        match line.parse::<i32>().ok()? {
            0 => members.foreign += 1,
            pid if pid > 0 => members.pids.push(pid),
            _ => return None,
        }
    }
    Some(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_kernel_format_is_understood() {
        assert_eq!(
            parse_events("populated 1\nfrozen 0\n"),
            Some(Events {
                populated: true,
                frozen: false
            })
        );
        assert_eq!(
            parse_events("populated 0\n"),
            Some(Events {
                populated: false,
                frozen: false
            })
        );
        assert_eq!(
            parse_events("populated 0\nfrozen 1\nnew 17\n"),
            Some(Events {
                populated: false,
                frozen: true
            })
        );
    }

    #[test]
    fn unknown_is_never_empty() {
        for bad in [
            "",
            "frozen 0\n",
            "populated\n",
            "populated 2\n",
            "populated 0\nfrozen yes\n",
            "populated  0\n",
        ] {
            assert_eq!(parse_events(bad), None, "{bad:?}");
        }
        for bad in ["-1\n", "1\n\n2\n", "x\n", "99999999999\n"] {
            assert_eq!(parse_members(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn foreign_members_are_counted_and_cannot_be_signalled() {
        let members = parse_members("12\n0\n0\n7\n").unwrap();
        assert_eq!(
            members,
            Members {
                pids: vec![12, 7],
                foreign: 2
            }
        );
        assert!(!parse_members("0\n").unwrap().is_empty());
        assert!(parse_members("").unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "\\PC*") {
            let events = parse_events(&text);
            prop_assert!(events.is_none() || text.contains("populated"));
            if let Some(members) = parse_members(&text) {
                prop_assert!(members.pids.iter().all(|pid| *pid > 0));
            }
        }

        #[test]
        fn members_survive_a_round_trip(pids in prop::collection::vec(0i32..4_194_304, 0..50)) {
            let text: String = pids.iter().map(|p| format!("{p}\n")).collect();
            let members = parse_members(&text).unwrap();
            prop_assert_eq!(members.pids.len() + members.foreign, pids.len());
        }
    }
}
