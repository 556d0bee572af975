//! What people are told: requests to decide, and what became of their own.

use crate::{
    error::Error,
    list::{Listed, Page},
    store,
    write::Write,
};
use policy::{Time, UserId};
use shared::db::Db;
use uuid::Uuid;

/// Why somebody is told something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    ToDecide,
    ToReview,
    Decided,
    Comment,
}

/// One thing to know.
#[derive(Debug, Clone)]
pub(crate) struct Notification {
    pub(crate) id: Uuid,
    pub(crate) kind: Kind,
    pub(crate) request: Uuid,
    pub(crate) created_at: Time,
    pub(crate) read_at: Option<Time>,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::ToDecide, Self::ToReview, Self::Decided, Self::Comment];

    /// The stored word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ToDecide => "to_decide",
            Self::ToReview => "to_review",
            Self::Decided => "decided",
            Self::Comment => "comment",
        }
    }
}

/// Tells people about a request, in the transaction that gives the reason.
pub(crate) async fn tell(
    write: &mut Write,
    users: &[UserId],
    kind: Kind,
    request: Uuid,
) -> Result<(), Error> {
    let now = write.now();
    Ok(store::notifications::insert(&mut write.tx, users, kind, request, now).await?)
}

pub(crate) async fn list(
    db: &Db,
    user: UserId,
    unread: bool,
    page: &Page,
) -> Result<Listed<Notification>, Error> {
    let rows = store::notifications::list(db, user, unread, page.before_id()?, page.limit()).await?;
    Ok(page.cut(rows, |notification| notification.id.to_string()))
}

/// Marks what a user was told up to `until` as read. Returns how many were not.
pub(crate) async fn read(db: &Db, user: UserId, until: Uuid, now: Time) -> Result<u64, Error> {
    Ok(store::notifications::read(db, user, until, now).await?)
}
