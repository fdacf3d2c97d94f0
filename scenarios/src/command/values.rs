//! The values of options: times, sizes and filters, with errors that say what is accepted.

use std::time::Duration;

use harness::param::{Axis, Unit};

/// Reads a duration in the spelling of axes: `0`, `250us`, `5ms`, `2s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const TIME: Axis = Axis {
        name: "time",
        unit: Unit::Nanoseconds,
        default: 0,
        kill_default: None,
        doc: "",
    };
    match TIME.parse(text) {
        Ok(harness::param::FOREVER) => {
            Err("every wait has a deadline: a time such as 5ms or 2s is needed".to_owned())
        }
        Ok(ns) => Ok(Duration::from_nanos(ns)),
        Err(e) => Err(format!("not {}", e.wanted)),
    }
}

/// Reads a duration that leaves time for something.
pub(super) fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => {
            Err("a deadline of 0 leaves no time for anything: 1s is usual".to_owned())
        }
        time => Ok(time),
    }
}

/// As [`some_time`], with minutes: `5m`.
pub(super) fn long_time(text: &str) -> Result<Duration, String> {
    let minutes = text.strip_suffix('m').map(str::parse::<u32>);
    match minutes {
        Some(Ok(minutes @ 1..)) => Ok(Duration::from_secs(60) * minutes),
        Some(_) => Err("a time such as 90s or 5m is needed".to_owned()),
        None => some_time(text),
    }
}

/// Accepts a level, or directives such as `warn,harness=debug`. The library would treat any other
/// word as the name of a module.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let known = |directive: &str| {
        let level = directive.rsplit('=').next().unwrap_or_default();
        LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level))
    };
    match text.split(',').all(known) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "levels are {}, alone or as MODULE=LEVEL",
            LEVELS.join(", ")
        )),
    }
}

/// Reads a size: a number of bytes, or one with K, M or G (powers of 1024).
pub(super) fn size(text: &str) -> Result<u64, String> {
    let wanted = "a size such as 64M or 1G is needed";
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        _ => return Err(wanted.to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| wanted.to_owned())?;
    let bytes = number
        .checked_mul(1 << shift)
        .ok_or("larger than any machine")?;
    if bytes < 4 << 20 {
        return Err("a workload needs at least 4M to start".to_owned());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_level_is_a_level() {
        for good in ["debug", "WARN", "warn,harness=trace"] {
            assert!(log_filter(good).is_ok(), "{good}");
        }
        for bad in ["bogus", "", "harness=loud"] {
            assert!(log_filter(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_and_times() {
        assert_eq!(size("512M"), Ok(512 << 20));
        assert_eq!(size("8388608"), Ok(8 << 20));
        for bad in ["", "M", "-1M", "1T", "1M", "99999999999G"] {
            assert!(size(bad).is_err(), "{bad:?}");
        }
        assert_eq!(duration("250us"), Ok(Duration::from_micros(250)));
        assert!(duration("forever").is_err() && duration("5").is_err());
        assert!(duration("0").is_ok() && some_time("0").is_err());
    }
}
