//! The actor's arguments, one a line.
#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| {
    let words = content.split(|byte| *byte == b'\n');
    let words = words.map(|word| OsString::from_vec(word.to_vec()));
    if let Err(message) = actor::understands(words) {
        assert!(!message.is_empty());
    }
});
