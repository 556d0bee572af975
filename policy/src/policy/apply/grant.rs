//! Grants: kept once by id, and as a rule where the check finds it.

use super::ApplyError;
use crate::{
    fact::{Grant, Grantee},
    id::GrantId,
    policy::{Node, Policy, Rule},
};

impl Policy {
    pub(super) fn put_grant(&mut self, grant: &Grant) -> Result<(), ApplyError> {
        let place = self.place(grant.target)?;
        let grantee = self.grantee(grant.grantee)?;
        self.remove_grant(grant.id);
        self.grants.insert(grant.id, *grant);
        if let Some(links) = grantee.and_then(|node| self.links_mut(node)) {
            links.granted.push(grant.id);
        }
        if let Some(rules) = self.rules_mut(place) {
            rules.insert(grantee, Rule::from(grant));
        }
        Ok(())
    }

    pub(super) fn remove_grant(&mut self, id: GrantId) {
        let Some(grant) = self.grants.remove(&id) else { return };
        let Ok(grantee) = self.grantee(grant.grantee) else { return };
        if let Some(links) = grantee.and_then(|node| self.links_mut(node)) {
            links.granted.retain(|granted| *granted != id);
        }
        if let Some(rules) = self.place(grant.target).ok().and_then(|place| self.rules_mut(place)) {
            rules.remove(grantee, id);
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
