//! Models, the grants on them, and the keys that name them.

use ahash::AHashMap;

use super::ApplyError;
use crate::{
    fact::{Grant, Grantee, Key, Model},
    id::{GrantId, KeyId, ModelId},
    policy::{KeyEntry, ModelEntry, Node, Policy, Rule, Rules},
};

impl Policy {
    pub(super) fn put_model(&mut self, model: &Model) -> Result<(), ApplyError> {
        let owner = model.owner.map(|member| self.node(member)).transpose()?;
        let known = self.models.find(&model.id);
        let taken = self.names.get(model.name.as_str()).filter(|index| Some(**index) != known);
        if let Some(other) = taken.and_then(|index| self.models.at(*index)) {
            return Err(ApplyError::NameTaken { name: model.name.clone(), by: other.fact.id });
        }
        self.disown(model.id);
        let fact = model.clone();
        let index = if let Some((index, entry)) = known.and_then(|i| Some((i, self.models.at_mut(i)?))) {
            let before = std::mem::replace(&mut entry.fact, fact);
            entry.owner = owner;
            self.names.remove(before.name.as_str());
            index
        } else {
            let (for_user, for_group, for_everyone) = (AHashMap::new(), AHashMap::new(), Vec::new());
            self.models.insert(model.id, ModelEntry { fact, owner, for_user, for_group, for_everyone })
        };
        self.names.insert(model.name.as_str().into(), index);
        if let Some(links) = owner.and_then(|owner| self.links_mut(owner)) {
            links.owned.push(model.id);
        }
        Ok(())
    }

    pub(super) fn remove_model(&mut self, id: ModelId) {
        self.disown(id);
        let Some(entry) = self.models.get(&id) else { return };
        let rules = entry.for_user.values().chain(entry.for_group.values()).flat_map(Rules::as_slice);
        let grants: Vec<GrantId> = rules.chain(&entry.for_everyone).map(|rule| rule.grant).collect();
        grants.into_iter().for_each(|grant| self.remove_grant(grant));
        if let Some((_, entry)) = self.models.remove(&id) {
            self.names.remove(entry.fact.name.as_str());
        }
    }

    /// Leaves a model without an owner.
    pub(super) fn disown(&mut self, id: ModelId) {
        let Some(entry) = self.models.get_mut(&id) else { return };
        entry.fact.owner = None;
        let owner = entry.owner.take();
        if let Some(links) = owner.and_then(|owner| self.links_mut(owner)) {
            links.owned.retain(|owned| *owned != id);
        }
    }

    pub(super) fn put_grant(&mut self, grant: &Grant) -> Result<(), ApplyError> {
        let model = self.model_index(grant.model)?;
        let grantee = self.grantee(grant.grantee)?;
        self.remove_grant(grant.id);
        self.grants.insert(grant.id, *grant);
        if let Some(links) = grantee.and_then(|node| self.links_mut(node)) {
            links.granted.push(grant.id);
        }
        let Some(entry) = self.models.at_mut(model) else { return Ok(()) };
        let rule = Rule::from(grant);
        let (rules, index) = match grantee {
            Some(Node::User(user)) => (&mut entry.for_user, user),
            Some(Node::Group(group)) => (&mut entry.for_group, group),
            None => {
                entry.for_everyone.push(rule);
                return Ok(());
            }
        };
        rules.entry(index).and_modify(|rules| rules.push(rule)).or_insert(Rules::One(rule));
        Ok(())
    }

    pub(super) fn remove_grant(&mut self, id: GrantId) {
        let Some(grant) = self.grants.remove(&id) else { return };
        let Ok(grantee) = self.grantee(grant.grantee) else { return };
        if let Some(links) = grantee.and_then(|node| self.links_mut(node)) {
            links.granted.retain(|granted| *granted != id);
        }
        let Some(entry) = self.models.get_mut(&grant.model) else { return };
        let (rules, index) = match grantee {
            Some(Node::User(user)) => (&mut entry.for_user, user),
            Some(Node::Group(group)) => (&mut entry.for_group, group),
            None => return entry.for_everyone.retain(|rule| rule.grant != id),
        };
        if let Some(left) = rules.remove(&index).and_then(|rules| rules.without(id)) {
            rules.insert(index, left);
        }
    }

    pub(super) fn put_key(&mut self, key: &Key) -> Result<(), ApplyError> {
        let owner = self.user_index(key.owner)?;
        if let Some(other) = self.keys.get(&key.hash).filter(|other| other.fact.id != key.id) {
            return Err(ApplyError::HashTaken { by: other.fact.id });
        }
        self.remove_key(key.id);
        self.keys.insert(key.hash, KeyEntry { fact: key.clone(), owner });
        self.hashes.insert(key.id, key.hash);
        if let Some(user) = self.users.at_mut(owner) {
            user.links.keys.push(key.id);
        }
        Ok(())
    }

    pub(super) fn remove_key(&mut self, id: KeyId) {
        let Some(entry) = self.hashes.remove(&id).and_then(|hash| self.keys.remove(&hash)) else { return };
        if let Some(user) = self.users.at_mut(entry.owner) {
            user.links.keys.retain(|key| *key != id);
        }
    }

    fn grantee(&self, grantee: Grantee) -> Result<Option<Node>, ApplyError> {
        match grantee {
            Grantee::User(id) => self.user_index(id).map(|user| Some(Node::User(user))),
            Grantee::Group(id) => self.group_index(id).map(|group| Some(Node::Group(group))),
            Grantee::Everyone => Ok(None),
        }
    }
}
