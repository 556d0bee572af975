//! The decision engine: users, groups, models, sets and grants go in as facts, and come out as "allowed or not, and why".
//!
//! It does no I/O and owns no clock: facts arrive as [`Change`]s, time arrives as an argument. The permissions
//! service decides with it and the inference gateway follows it as a [`Replica`], so both give the same answer.

pub mod check;
pub mod effective;
pub mod expand;
pub mod explain;
pub mod fact;
mod hex;
pub mod id;
pub mod list;
pub mod lookup;
pub mod policy;
pub mod replica;
pub mod simulate;
pub mod time;
mod ways;

pub use check::{Decision, Question, Reason};
pub use effective::Holding;
pub use expand::{Branch, Expansion, Leaf};
pub use explain::{Cause, Explanation, Standing};
pub use fact::{
    Action, Alias, Change, Effect, Grant, Grantee, Group, Key, Member, Membership, Model, ModelSet,
    ModelState, OldSecret, Role, Scope, Scopes, SigningKey, Target, UnknownWord, User,
};
pub use id::{
    Epoch, GrantId, GroupId, InvalidId, KeyHash, KeyId, ModelId, ModelSetId, Revision, SessionId, UserId,
};
pub use list::Page;
pub use lookup::{Access, KeyRefusal};
pub use policy::{ApplyError, Canonical, Loader, Policy};
pub use replica::{Bounds, Delta, Freshness, Heartbeat, Loaded, Message, Outcome, Replica, Snapshot};
pub use simulate::{Difference, Misfit, Simulation};
pub use time::Time;
