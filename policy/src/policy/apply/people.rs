//! Users, groups and who is in which.

use ahash::AHashSet;

use super::ApplyError;
use crate::{
    fact::{Group, Member, Membership, User},
    id::{GroupId, UserId},
    policy::{Edge, GroupEntry, Links, Node, Policy, UserEntry, reach::Touched},
    time::Time,
};

impl Policy {
    pub(super) fn put_user(&mut self, user: &User) {
        let fact = *user;
        match self.users.get_mut(&user.id) {
            Some(entry) => entry.fact = fact,
            None => {
                let (reach, links) = Default::default();
                self.users.insert(UserEntry { fact, reach, links });
            }
        }
    }

    pub(super) fn put_group(&mut self, group: &Group, touched: &mut Touched) {
        let fact = *group;
        let Some(index) = self.groups.find(&group.id) else {
            let (links, users, groups) = (Links::default(), AHashSet::new(), AHashSet::new());
            self.groups.insert(GroupEntry { fact, links, users, groups });
            return;
        };
        let Some(entry) = self.groups.at_mut(index) else { return };
        let before = std::mem::replace(&mut entry.fact, fact);
        if before.disabled != group.disabled {
            self.touch(Node::Group(index), touched);
        }
    }

    pub(super) fn put_membership(
        &mut self,
        put: &Membership,
        touched: &mut Touched,
    ) -> Result<(), ApplyError> {
        let group = self.group_index(put.group)?;
        let member = self.node(put.member)?;
        let edge = Edge { group, until: put.expires_at.map_or(Time::NEVER, |at| at.0) };
        if let Some(links) = self.links_mut(member) {
            if links.up.contains(&edge) {
                return Ok(());
            }
            match links.up.iter_mut().find(|known| known.group == group) {
                Some(known) => *known = edge,
                None => links.up.push(edge),
            }
        }
        if let Some(entry) = self.groups.at_mut(group) {
            match member {
                Node::User(user) => entry.users.insert(user),
                Node::Group(child) => entry.groups.insert(child),
            };
        }
        self.touch(member, touched);
        Ok(())
    }

    pub(super) fn remove_membership(&mut self, group: GroupId, member: Member, touched: &mut Touched) {
        if let (Ok(group), Ok(member)) = (self.group_index(group), self.node(member)) {
            self.unlink(group, member);
            self.touch(member, touched);
        }
    }

    pub(super) fn remove_user(&mut self, id: UserId) {
        if let Some(index) = self.users.find(&id) {
            self.release(Node::User(index));
            self.users.remove(&id);
        }
    }

    pub(super) fn remove_group(&mut self, id: GroupId, touched: &mut Touched) {
        let Some(index) = self.groups.find(&id) else { return };
        self.touch(Node::Group(index), touched);
        self.release(Node::Group(index));
        let Some((_, entry)) = self.groups.remove(&id) else { return };
        let groups = entry.groups.into_iter().map(Node::Group);
        groups.chain(entry.users.into_iter().map(Node::User)).for_each(|member| self.unlink(index, member));
    }

    /// Ends everything by which others refer to a user or group that is about to go.
    fn release(&mut self, node: Node) {
        let Some(links) = self.links_mut(node) else { return };
        let Links { up, granted, owned, keys } = std::mem::take(links);
        up.into_iter().for_each(|edge| self.unlink(edge.group, node));
        for grant in granted {
            if let Some(id) = self.grants.at(grant).map(|rule| rule.id) {
                self.remove_grant(id);
            }
        }
        owned.into_iter().for_each(|model| self.disown(model));
        keys.into_iter().for_each(|key| self.remove_key(key));
    }

    fn unlink(&mut self, group: u32, member: Node) {
        if let Some(links) = self.links_mut(member) {
            links.up.retain(|edge| edge.group != group);
        }
        if let Some(entry) = self.groups.at_mut(group) {
            match member {
                Node::User(user) => entry.users.remove(&user),
                Node::Group(child) => entry.groups.remove(&child),
            };
        }
    }
}
