//! Whose usage a caller may see: owners, admins, auditors and services everybody's, all others their own.

use crate::error::Error;
use policy::{Role, UserId};
use shared::auth::Caller;

/// Offices that see everybody's usage.
const SEE_ALL: [Role; 3] = [Role::Owner, Role::Admin, Role::Auditor];

/// The user to restrict an answer to, or `None` for everybody, when `caller` asks about `asked`.
///
/// # Errors
/// [`Error::OthersUsage`] when the caller may see only its own and asks for somebody else's.
pub(crate) fn restrict(caller: &Caller, asked: Option<UserId>) -> Result<Option<UserId>, Error> {
    match caller {
        Caller::Service => Ok(asked),
        Caller::Person(person) if SEE_ALL.contains(&person.role) => Ok(asked),
        Caller::Person(person) if asked.is_none_or(|user| user == person.user) => Ok(Some(person.user)),
        Caller::Person(_) => Err(Error::OthersUsage),
    }
}
