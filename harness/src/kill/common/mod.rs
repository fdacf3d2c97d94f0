//! Code that several strategies share.
//!
//! A strategy itself is one file beside this directory.

mod acting;
pub(super) mod probe;

pub(super) use acting::acting;

use crate::record::FallbackKind;
use allgone::kill::Fallback;

/// A fallback of a strategy of this crate.
pub(super) fn own(kind: FallbackKind, what: &'static str) -> Fallback {
    Fallback::Own {
        name: kind.name(),
        what,
    }
}
