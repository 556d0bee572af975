//! One change at a time: the facts, the indexes beside them, and the cascades of a removal.
//!
//! A removal takes along what refers to the removed: memberships, grants and keys go, an owned model stays without
//! owner. A put must find what it refers to: dropping, say, a deny for a group that has not arrived yet would open a
//! door, so such a put is refused and changes nothing.

mod grant;
mod key;
mod model;
mod people;
mod set;

use std::borrow::Borrow;

use super::{Links, Node, Place, Policy, reach::Touched};
use crate::{
    fact::{Change, Member, Target},
    id::{GroupId, KeyId, ModelId, ModelSetId, UserId},
};

/// A change that does not fit the facts it is applied to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The change refers to a user that is not there.
    #[error("user {0} is not known; put the user before what refers to it")]
    UnknownUser(UserId),
    /// The change refers to a group that is not there.
    #[error("group {0} is not known; put the group before what refers to it")]
    UnknownGroup(GroupId),
    /// The change refers to a model that is not there.
    #[error("model {0} is not known; put the model before what refers to it")]
    UnknownModel(ModelId),
    /// The change refers to a set that is not there.
    #[error("model set {0} is not known; put the set before what refers to it")]
    UnknownSet(ModelSetId),
    /// Another model has the name, or the name is a further name of a model.
    #[error("the model name `{name}` is taken by model {by}; rename that model, or remove the alias, first")]
    NameTaken {
        /// The name in question.
        name: String,
        /// The model that has it.
        by: ModelId,
    },
    /// Another key has the same secret.
    #[error("key {by} has the same secret; remove that key first")]
    HashTaken {
        /// The key that has it.
        by: KeyId,
    },
}

impl Policy {
    /// Applies one change, and works out again only what it touches.
    ///
    /// Putting what is there already and removing what is not there are both fine and change nothing.
    ///
    /// # Errors
    /// When a put refers to something unknown, or claims a name or a secret that is taken. The state is as before.
    pub fn apply(&mut self, change: &Change) -> Result<(), ApplyError> {
        self.apply_all([change])
    }

    /// Applies changes in order; what they touch is worked out once at the end.
    ///
    /// # Errors
    /// As [`Policy::apply`], at the first change that does not fit. Those before it are applied, those after are not.
    pub fn apply_all<C: Borrow<Change>>(
        &mut self,
        changes: impl IntoIterator<Item = C>,
    ) -> Result<(), ApplyError> {
        let mut touched = Touched::default();
        let result = changes.into_iter().try_for_each(|change| self.write(change.borrow(), &mut touched));
        self.refresh(touched);
        result
    }

    /// Applies those that fit, in order.
    pub(crate) fn apply_fitting(&mut self, changes: Vec<Change>) {
        let mut touched = Touched::default();
        for change in changes {
            drop(self.write(&change, &mut touched));
        }
        self.refresh(touched);
    }

    pub(super) fn write(&mut self, change: &Change, touched: &mut Touched) -> Result<(), ApplyError> {
        match change {
            Change::PutUser(user) => self.put_user(user),
            Change::PutGroup(group) => self.put_group(group, touched),
            Change::PutMembership(membership) => return self.put_membership(membership, touched),
            Change::PutModel(model) => return self.put_model(model),
            Change::PutGrant(grant) => return self.put_grant(grant),
            Change::PutKey(key) => return self.put_key(key),
            Change::PutSetItem { set, item } => return self.put_set_item(*set, *item, touched),
            Change::PutAlias(alias) => return self.put_alias(alias),
            Change::PutModelSet(set) => self.put_set(set, touched),
            Change::PutSigningKey(key) => self.put_signing_key(key),
            Change::RemoveUser(id) => self.remove_user(*id),
            Change::RemoveGroup(id) => self.remove_group(*id, touched),
            Change::RemoveMembership { group, member } => self.remove_membership(*group, *member, touched),
            Change::RemoveModel(id) => self.remove_model(*id),
            Change::RemoveGrant(id) => self.remove_grant(*id),
            Change::RemoveKey(id) => self.remove_key(*id),
            Change::RemoveModelSet(id) => self.remove_set(*id, touched),
            Change::RemoveSetItem { set, item } => self.remove_set_item(*set, *item, touched),
            Change::RemoveAlias(name) => self.remove_alias(name),
            Change::RemoveSigningKey(kid) => self.remove_signing_key(kid),
            Change::EndSession { session, at, until } => self.end_session(*session, *at, *until),
        }
        Ok(())
    }

    fn user_index(&self, id: UserId) -> Result<u32, ApplyError> {
        self.users.find(&id).ok_or(ApplyError::UnknownUser(id))
    }

    fn group_index(&self, id: GroupId) -> Result<u32, ApplyError> {
        self.groups.find(&id).ok_or(ApplyError::UnknownGroup(id))
    }

    fn model_index(&self, id: ModelId) -> Result<u32, ApplyError> {
        self.models.find(&id).ok_or(ApplyError::UnknownModel(id))
    }

    fn node(&self, member: Member) -> Result<Node, ApplyError> {
        match member {
            Member::User(id) => self.user_index(id).map(Node::User),
            Member::Group(id) => self.group_index(id).map(Node::Group),
        }
    }

    fn place(&self, target: Target) -> Result<Place, ApplyError> {
        match target {
            Target::Model(id) => self.model_index(id).map(Place::Model),
            Target::Set(id) => self.sets.find(&id).map(Place::Set).ok_or(ApplyError::UnknownSet(id)),
        }
    }

    fn links_mut(&mut self, node: Node) -> Option<&mut Links> {
        match node {
            Node::User(index) => self.users.at_mut(index).map(|entry| &mut *entry.links),
            Node::Group(index) => self.groups.at_mut(index).map(|entry| &mut entry.links),
        }
    }
}
