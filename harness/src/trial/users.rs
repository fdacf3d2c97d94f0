//! The user that the actors of a run become.

use super::TrialError;
use crate::host::Support;
use crate::host::another_user;
use crate::users::Reserved;

pub use crate::users::ACTOR_UIDS;

/// The user of a run's actors, which no other process has. `None`: this process cannot give them
/// another user (it is not root, or root of a user namespace that has no others), and they keep its
/// own.
///
/// # Errors
///
/// It could not be tried, or processes have all the users.
pub(super) fn for_actors() -> Result<Option<Reserved>, TrialError> {
    if another_user::probe().map_err(TrialError::Probe)? != Support::Available {
        return Ok(None);
    }
    let none = TrialError::Users(ACTOR_UIDS.start, ACTOR_UIDS.end - 1);
    Ok(Some(Reserved::take()?.ok_or(none)?))
}
