//! The same rules once more, as plainly as they can be said: lists of facts, searched from end to end every time.

use std::net::IpAddr;

use policy::{
    Action, Alias, Change, Effect, Grant, Grantee, Group, GroupId, Key, KeyHash, KeyRefusal, Member,
    Membership, Model, ModelId, ModelSet, ModelSetId, ModelState, Reason, SessionId, SigningKey, Target,
    Time, User, UserId,
};

#[derive(Debug, Default, Clone)]
pub(crate) struct Book {
    pub(crate) users: Vec<User>,
    pub(crate) groups: Vec<Group>,
    pub(crate) memberships: Vec<Membership>,
    pub(crate) models: Vec<Model>,
    pub(crate) grants: Vec<Grant>,
    pub(crate) keys: Vec<Key>,
    pub(crate) sets: Vec<ModelSet>,
    pub(crate) items: Vec<(ModelSetId, Target)>,
    pub(crate) aliases: Vec<Alias>,
    pub(crate) signing: Vec<SigningKey>,
    /// Every end there ever was: it forgets nothing.
    pub(crate) ended: Vec<(SessionId, Time)>,
}

impl Book {
    /// Writes the change down, unless it refers to something unknown or claims something taken.
    pub(crate) fn apply(&mut self, change: &Change) -> bool {
        match change {
            Change::PutUser(user) => put(&mut self.users, user, |one| one.id == user.id),
            Change::PutGroup(group) => put(&mut self.groups, group, |one| one.id == group.id),
            Change::PutMembership(new) => {
                let fits = self.has(Member::Group(new.group)) && self.has(new.member);
                let same = |one: &Membership| one.group == new.group && one.member == new.member;
                fits && put(&mut self.memberships, new, same)
            }
            Change::PutModel(model) => {
                let free = !self.models.iter().any(|one| one.name == model.name && one.id != model.id)
                    && !self.aliases.iter().any(|one| one.name == model.name);
                let fits = free && model.owner.is_none_or(|owner| self.has(owner));
                fits && put(&mut self.models, model, |one| one.id == model.id)
            }
            Change::PutGrant(grant) => {
                let fits =
                    self.knows(grant.target) && named(grant.grantee).is_none_or(|member| self.has(member));
                fits && put(&mut self.grants, grant, |one| one.id == grant.id)
            }
            Change::PutKey(key) => {
                let mut others = self.keys.iter().filter(|one| one.id != key.id).flat_map(secrets);
                let free = !others.any(|hash| secrets(key).contains(&hash));
                let fits = free && self.has(Member::User(key.owner));
                fits && put(&mut self.keys, key, |one| one.id == key.id)
            }
            Change::RemoveUser(id) => {
                self.users.retain(|one| one.id != *id);
                self.keys.retain(|one| one.owner != *id);
                self.forget(Member::User(*id))
            }
            Change::RemoveGroup(id) => {
                self.groups.retain(|one| one.id != *id);
                self.memberships.retain(|one| one.group != *id);
                self.forget(Member::Group(*id))
            }
            Change::RemoveMembership { group, member } => {
                self.memberships.retain(|one| one.group != *group || one.member != *member);
                true
            }
            Change::RemoveModel(id) => {
                self.models.retain(|one| one.id != *id);
                self.aliases.retain(|one| one.model != *id);
                self.drop_target(Target::Model(*id))
            }
            Change::PutModelSet(set) => put(&mut self.sets, set, |one| one.id == set.id),
            Change::RemoveModelSet(id) => {
                self.sets.retain(|one| one.id != *id);
                self.items.retain(|(set, _)| set != id);
                self.drop_target(Target::Set(*id))
            }
            Change::PutSetItem { set, item } => {
                let fits = self.knows(Target::Set(*set)) && self.knows(*item);
                fits && put(&mut self.items, &(*set, *item), |one| *one == (*set, *item))
            }
            Change::RemoveSetItem { set, item } => {
                self.items.retain(|one| *one != (*set, *item));
                true
            }
            Change::PutAlias(alias) => {
                let free = !self.models.iter().any(|one| one.name == alias.name);
                let fits = free && self.knows(Target::Model(alias.model));
                fits && put(&mut self.aliases, alias, |one| one.name == alias.name)
            }
            Change::RemoveAlias(name) => {
                self.aliases.retain(|one| one.name != *name);
                true
            }
            Change::PutSigningKey(key) => put(&mut self.signing, key, |one| one.id == key.id),
            Change::RemoveSigningKey(kid) => {
                self.signing.retain(|one| one.id != *kid);
                true
            }
            Change::EndSession { session, until, .. } => {
                self.ended.push((*session, *until));
                true
            }
            Change::RemoveGrant(id) => {
                self.grants.retain(|one| one.id != *id);
                true
            }
            Change::RemoveKey(id) => {
                self.keys.retain(|one| one.id != *id);
                true
            }
        }
    }

    /// Nothing when allowed, else why not.
    pub(crate) fn refusal(&self, user: UserId, model: ModelId, action: Action, now: Time) -> Option<Reason> {
        let Some(person) = self.users.iter().find(|one| one.id == user) else {
            return Some(Reason::UnknownUser);
        };
        if person.disabled {
            return Some(Reason::UserDisabled);
        }
        let Some(thing) = self.models.iter().find(|one| one.id == model) else {
            return Some(Reason::UnknownModel);
        };
        if thing.state == ModelState::Disabled {
            return Some(Reason::ModelDisabled);
        }
        let any = |action, effect| {
            self.grants.iter().any(|one| {
                self.covers(one.target, model)
                    && one.action == action
                    && one.effect == effect
                    && self.in_force(one, user, now)
            })
        };
        let could_manage = self.owns(user, model, now) || any(Action::Manage, Effect::Allow);
        let barred = any(Action::Manage, Effect::Deny);
        match action {
            Action::Manage if barred => Some(Reason::Denied),
            Action::Manage if could_manage => None,
            Action::Manage => Some(Reason::NoGrant),
            Action::Use if any(Action::Use, Effect::Deny) => Some(Reason::Denied),
            Action::Use if any(Action::Use, Effect::Allow) => None,
            Action::Use if could_manage && barred => Some(Reason::Denied),
            Action::Use if could_manage => None,
            Action::Use => Some(Reason::NoGrant),
        }
    }

    pub(crate) fn in_force(&self, grant: &Grant, user: UserId, now: Time) -> bool {
        let started = grant.starts_at.is_none_or(|start| start <= now);
        let running = grant.expires_at.is_none_or(|end| now < end);
        started && running && named(grant.grantee).is_none_or(|member| self.is(user, member, now))
    }

    pub(crate) fn owns(&self, user: UserId, model: ModelId, now: Time) -> bool {
        let owner = self.models.iter().find(|one| one.id == model).and_then(|one| one.owner);
        owner.is_some_and(|owner| self.is(user, owner, now))
    }

    /// The groups that count for the user: breadth first, over memberships that hold now, through enabled groups only.
    pub(crate) fn groups_of(&self, user: UserId, now: Time) -> Vec<GroupId> {
        let mut found: Vec<GroupId> = Vec::new();
        let mut ring = vec![Member::User(user)];
        while !ring.is_empty() {
            let holds =
                |one: &&Membership| ring.contains(&one.member) && one.expires_at.is_none_or(|end| now < end);
            let parents = self.memberships.iter().filter(holds).map(|one| one.group);
            let enabled = |id: &GroupId| self.groups.iter().any(|one| one.id == *id && !one.disabled);
            let mut new: Vec<GroupId> = parents.filter(enabled).filter(|id| !found.contains(id)).collect();
            new.sort_unstable();
            new.dedup();
            ring = new.iter().copied().map(Member::Group).collect();
            found.extend(new);
        }
        found.sort_unstable();
        found
    }

    /// Whether what is on the target counts for the model: it is the model, or an enabled set with the model
    /// somewhere below it, enabled sets all the way.
    pub(crate) fn covers(&self, target: Target, model: ModelId) -> bool {
        match target {
            Target::Model(id) => id == model,
            Target::Set(id) => self.sets_of(model).contains(&id),
        }
    }

    /// The same, if no set were disabled.
    pub(crate) fn could_cover(&self, target: Target, model: ModelId) -> bool {
        let mut enabled = self.clone();
        enabled.sets.iter_mut().for_each(|set| set.disabled = false);
        enabled.covers(target, model)
    }

    pub(crate) fn sets_of(&self, model: ModelId) -> Vec<ModelSetId> {
        let mut found: Vec<ModelSetId> = Vec::new();
        let mut ring = vec![Target::Model(model)];
        while !ring.is_empty() {
            let parents = self.items.iter().filter(|(_, item)| ring.contains(item)).map(|(set, _)| *set);
            let enabled = |id: &ModelSetId| self.sets.iter().any(|one| one.id == *id && !one.disabled);
            let mut new: Vec<ModelSetId> = parents.filter(enabled).filter(|id| !found.contains(id)).collect();
            new.sort_unstable();
            new.dedup();
            ring = new.iter().copied().map(Target::Set).collect();
            found.extend(new);
        }
        found.sort_unstable();
        found
    }

    pub(crate) fn named_model(&self, name: &str) -> Option<&Model> {
        let alias = self.aliases.iter().find(|one| one.name == name).map(|one| one.model);
        self.models.iter().find(|one| one.name == name || Some(one.id) == alias)
    }

    pub(crate) fn key(&self, hash: &KeyHash, peer: Option<IpAddr>, now: Time) -> Result<&Key, KeyRefusal> {
        let key = self.keys.iter().find(|one| secrets(one).contains(hash)).ok_or(KeyRefusal::Unknown)?;
        let rotated_out =
            key.hash != *hash && !key.previous.iter().any(|old| old.hash == *hash && now < old.until);
        // All test addresses are IPv4, and the only networks that hold some of them are these.
        let inside = peer.is_some_and(|peer| peer.to_string().starts_with("10."))
            && key.networks.iter().any(|net| net.to_string().contains("10."));
        let owner = self.users.iter().find(|one| one.id == key.owner);
        match key {
            Key { disabled: true, .. } => Err(KeyRefusal::Disabled),
            Key { expires_at: Some(end), .. } if *end <= now => Err(KeyRefusal::Expired),
            _ if rotated_out => Err(KeyRefusal::Expired),
            _ if owner.is_none_or(|owner| owner.disabled) => Err(KeyRefusal::OwnerDisabled),
            _ if !key.networks.is_empty() && !inside => Err(KeyRefusal::Network),
            _ => Ok(key),
        }
    }

    fn is(&self, user: UserId, member: Member, now: Time) -> bool {
        match member {
            Member::User(id) => id == user,
            Member::Group(id) => self.groups_of(user, now).contains(&id),
        }
    }

    fn has(&self, member: Member) -> bool {
        match member {
            Member::User(id) => self.users.iter().any(|one| one.id == id),
            Member::Group(id) => self.groups.iter().any(|one| one.id == id),
        }
    }

    fn knows(&self, target: Target) -> bool {
        match target {
            Target::Model(id) => self.models.iter().any(|one| one.id == id),
            Target::Set(id) => self.sets.iter().any(|one| one.id == id),
        }
    }

    fn drop_target(&mut self, target: Target) -> bool {
        self.grants.retain(|one| one.target != target);
        self.items.retain(|(_, item)| *item != target);
        true
    }

    fn forget(&mut self, member: Member) -> bool {
        self.memberships.retain(|one| one.member != member);
        self.grants.retain(|one| named(one.grantee) != Some(member));
        self.models.iter_mut().filter(|one| one.owner == Some(member)).for_each(|one| one.owner = None);
        true
    }
}

fn secrets(key: &Key) -> Vec<KeyHash> {
    std::iter::once(key.hash).chain(key.previous.iter().map(|old| old.hash)).collect()
}

fn put<T: Clone>(list: &mut Vec<T>, item: &T, same: impl Fn(&T) -> bool) -> bool {
    list.retain(|one| !same(one));
    list.push(item.clone());
    true
}

pub(crate) fn named(grantee: Grantee) -> Option<Member> {
    match grantee {
        Grantee::User(id) => Some(Member::User(id)),
        Grantee::Group(id) => Some(Member::Group(id)),
        Grantee::Everyone => None,
    }
}
