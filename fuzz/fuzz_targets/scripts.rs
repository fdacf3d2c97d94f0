//! Scripts, as text and as JSON.
#![no_main]

use actor::Script;
use actor::text::Named;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|content: &[u8]| {
    match Named::read(content) {
        // What is printed is read as the same script.
        Ok(named) => {
            let printed = named.to_string();
            let again = Named::read(printed.as_bytes()).unwrap();
            assert_eq!(again.script(), named.script());
            assert_eq!(again.to_string(), printed);
        }
        Err(error) => {
            let text = String::from_utf8_lossy(content);
            assert!(error.line >= 1 && error.line <= text.split('\n').count() + 1);
            assert!(error.column >= 1 && !error.problem.is_empty());
        }
    }
    if let Ok(script) = serde_json::from_slice::<Script>(content) {
        if let Ok(checked) = Script::new(script.blocks) {
            assert!(checked.tasks() >= 1);
        }
    }
});
