//! What `HARNESS_REQUIRE` may name: features of the machine, and mechanisms.

use crate::host::features::{Feature, UnknownFeature, by_name};

/// Names that `HARNESS_REQUIRE` may hold and that do not concern this library: `browser` (the tests
/// of `reports` show their page in one), `cgroup2-memory` (those of the guard need the memory
/// controller of version 2).
pub const OF_OTHER_TESTS: [&str; 2] = ["browser", "cgroup2-memory"];

/// Reads a list such as `cgroup2-write,pidfd` (the value of `HARNESS_REQUIRE`). Blanks and empty
/// items are skipped, repetitions kept once.
///
/// Ids of detectors and strategies, and [`OF_OTHER_TESTS`], may be required too. They are not
/// features and are left out here: the tests that need them check them.
pub fn parse_requirements(list: &str) -> Result<Vec<&'static Feature>, UnknownFeature> {
    let mut wanted: Vec<&'static Feature> = Vec::new();
    let elsewhere = |name: &str| {
        OF_OTHER_TESTS.contains(&name)
            || crate::detect::by_id(name).is_some()
            || crate::kill::by_id(name).is_some()
    };
    for name in list
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        let feature = match by_name(name) {
            Err(_) if elsewhere(name) => continue,
            other => other?,
        };
        if wanted.iter().all(|f| f.name != feature.name) {
            wanted.push(feature);
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_a_wrong_name_gets_its_nearest() {
        let names = |list: &str| {
            parse_requirements(list).map(|fs| fs.iter().map(|f| f.name).collect::<Vec<_>>())
        };
        assert_eq!(names(" pidfd, root,,pidfd ").unwrap(), ["pidfd", "root"]);
        assert_eq!(names("").unwrap(), [""; 0]);
        assert_eq!(names("waitpid-main,root,killpg,browser").unwrap(), ["root"]);
        for (wrong, nearest) in [
            ("pidfs", "pidfd"),
            ("cgroup-write", "cgroup2-write"),
            ("iouring", "io-uring"),
            ("v1-pid", "v1-pids"),
        ] {
            let error = names(&format!("root,{wrong}")).unwrap_err();
            assert_eq!((error.name.as_str(), error.nearest), (wrong, nearest));
            assert!(error.to_string().contains(nearest));
        }
    }
}
