//! All launchers and promises.

use super::{Failure, GOOD, print};
use crate::adapter::{Adapter, SHIPPED, missing};
use crate::promises::PROMISES;
use scenarios::formats::table::plain;

pub(super) fn list() -> Result<u8, Failure> {
    let mut launchers = plain(&["launcher", "what it is", "here"]);
    for (id, _) in SHIPPED {
        let adapter = Adapter::load(id).map_err(Failure::usage)?;
        let here = missing(&adapter).map_or_else(|| "yes".to_owned(), |why| format!("no: {why}"));
        launchers.add_row([(*id).to_owned(), adapter.about, here]);
    }
    let mut promises = plain(&["promise", "what is promised"]);
    for promise in PROMISES {
        promises.add_row([promise.id(), promise.summary()]);
    }
    print(&format!("{launchers}\n\n{promises}\n"))?;
    Ok(GOOD)
}
