//! Grants: kept once, and found from their id, from whom they are for and from what they are on.

use super::ApplyError;
use crate::{
    fact::{Grant, Grantee},
    id::GrantId,
    policy::{Node, Place, Policy, Rule, Ruleset, Table},
    time::Time,
};

impl Policy {
    pub(super) fn put_grant(&mut self, grant: &Grant) -> Result<(), ApplyError> {
        let place = self.place(grant.target)?;
        let grantee = self.grantee(grant.grantee)?;
        self.remove_grant(grant.id);
        let start = grant.starts_at.map_or(Time::ALWAYS, |at| at.0);
        let end = grant.expires_at.map_or(Time::NEVER, |at| at.0);
        let rule = Rule::new(grant.id, (start, end), grantee, place, (grant.action, grant.effect));
        let index = self.grants.insert(rule);
        self.granted_mut(grantee).into_iter().for_each(|granted| granted.push(index));
        if let (grants, Some(rules)) = self.grants_and_rules(place) {
            grants.link(index, rules);
        }
        Ok(())
    }

    pub(super) fn remove_grant(&mut self, id: GrantId) {
        let Some((index, rule)) = self.grants.remove(&id) else { return };
        if let Some(granted) = self.granted_mut(rule.grantee) {
            granted.retain(|granted| *granted != index);
        }
        if let (grants, Some(rules)) = self.grants_and_rules(rule.place) {
            grants.unlink(index, &rule, rules);
        }
    }

    /// Removes the grants of all these chains.
    pub(super) fn remove_chains(&mut self, chains: &[u32]) {
        let rules = chains.iter().flat_map(|first| self.grants.chain(*first));
        let grants: Vec<GrantId> = rules.map(|rule| rule.id).collect();
        grants.into_iter().for_each(|grant| self.remove_grant(grant));
    }

    fn granted_mut(&mut self, grantee: Option<Node>) -> Option<&mut Vec<u32>> {
        match grantee {
            Some(node) => self.links_mut(node).map(|links| &mut links.granted),
            None => Some(&mut self.common),
        }
    }

    fn grants_and_rules(&mut self, place: Place) -> (&mut Table<Rule>, Option<&mut Ruleset>) {
        let rules = match place {
            Place::Model(index) => self.models.at_mut(index).map(|entry| &mut entry.rules),
            Place::Set(index) => self.sets.at_mut(index).map(|entry| &mut entry.rules),
        };
        (&mut self.grants, rules)
    }

    fn grantee(&self, grantee: Grantee) -> Result<Option<Node>, ApplyError> {
        match grantee {
            Grantee::User(id) => self.user_index(id).map(|user| Some(Node::User(user))),
            Grantee::Group(id) => self.group_index(id).map(|group| Some(Node::Group(group))),
            Grantee::Everyone => Ok(None),
        }
    }
}
