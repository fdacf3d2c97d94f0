//! Placeholder.
use super::common::Test;
/// All tests of this area.
pub(crate) fn tests() -> Vec<Test> {
    Vec::new()
}
