//! Recorded trials: a file that another machine, or a crash, has left.
#![no_main]

use harness_record::{Elapsed, KillTimes, read_lines, write_line};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| {
    // What was read can be written, and is then read as the same.
    for record in read_lines(content).flatten() {
        let times = KillTimes::of(&record, 1_000_000_000);
        assert!(!matches!(times.to_empty, Some(Elapsed::Ns(ns)) if ns > 1_000_000_000));
        let mut line = Vec::new();
        write_line(&mut line, &record).unwrap();
        let again = read_lines(line.as_slice()).next().unwrap().unwrap();
        assert_eq!(again, record);
    }
});
