//! Many grants at once: all or nothing, or each for itself, or a part of an import.
//!
//! Whatever the number, a transaction looks its models, users and groups up in one query each and inserts in one, so a
//! part of a batch costs about as much as a single grant. Nothing that can fail is left to the insert but "it is there
//! already", and that is asked of it as an answer, so no savepoint is needed to keep the others.

use crate::{
    check,
    error::{Error, Forbidden},
    grants::{Grant, NewGrant},
    imports::{self, Kind, Progress, Taken},
    manage, store,
    write::{Origin, Write},
};
use policy::{GrantId, Grantee, GroupId, Member, ModelId, ModelSetId, Target, UserId};
use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};
use uuid::Uuid;

/// Operations of one transaction where each is for itself.
pub(crate) const PART: usize = 200;
/// Operations of one batch.
pub(crate) const MOST: usize = 1_000;

/// One thing to do.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Create(NewGrant),
    Revoke(GrantId),
    /// It broke the rules of a field already.
    Malformed(Malformed),
}

/// A field that breaks its rules, kept until its turn.
#[derive(Debug, Clone)]
pub(crate) struct Malformed {
    pub(crate) field: Cow<'static, str>,
    pub(crate) problem: String,
}

/// What was done.
#[derive(Debug)]
pub(crate) enum Done {
    Created(Grant),
    Revoked(GrantId),
}

/// Does all operations, each with its own result; what fails changes nothing.
pub(crate) async fn each(
    write: &mut Write,
    operations: Vec<Operation>,
) -> Result<Vec<Result<Done, Error>>, Error> {
    let known = Known::look_up(write, &operations).await?;
    let mut results: Vec<Option<Result<Done, Error>>> = Vec::with_capacity(operations.len());
    let (mut made, mut revoked) = (Vec::new(), HashSet::new());
    for operation in operations {
        results.push(match known.decide(write, operation, &mut revoked) {
            Ok(Decided::Create(grant)) => {
                made.push((results.len(), grant));
                None
            }
            Ok(Decided::Revoke(grant)) => {
                let id = grant.fact.id;
                write.record(grant.revoked());
                Some(Ok(Done::Revoked(id)))
            }
            Err(error) => Some(Err(error)),
        });
    }
    store::grants::delete_all(&mut write.tx, &revoked).await?;
    let grants: Vec<&Grant> = made.iter().map(|(_, grant)| grant).collect();
    // While the database stores them, it is written down that they were made.
    let (inserted, records) = futures_util::join!(store::grants::insert_all(&mut write.tx, &grants), async {
        made.iter().map(|(_, grant)| grant.created()).collect::<Vec<_>>()
    });
    let inserted = inserted?;
    for ((place, grant), record) in made.into_iter().zip(records) {
        let new = inserted.contains(&grant.fact.id);
        if new {
            write.record(record);
        }
        results[place] = Some(if new { Ok(Done::Created(grant)) } else { Err(Error::grant_exists()) });
    }
    Ok(results.into_iter().flatten().collect())
}

/// Does all operations or none; the first that fails is the answer.
pub(crate) async fn all(write: &mut Write, operations: Vec<Operation>) -> Result<Vec<Done>, Error> {
    let results = each(write, operations).await?;
    let numbered = results.into_iter().enumerate();
    numbered.map(|(index, result)| result.map_err(|error| error.of_operation(index))).collect()
}

enum Decided {
    Create(Grant),
    Revoke(Grant),
}

/// What the operations name, as the store has it.
struct Known {
    models: HashSet<ModelId>,
    /// Whether the caller may manage them.
    sets: HashMap<ModelSetId, bool>,
    members: HashSet<Member>,
    grants: HashMap<GrantId, Grant>,
}

impl Known {
    async fn look_up(write: &mut Write, operations: &[Operation]) -> Result<Self, Error> {
        let (mut targets, mut users) = (HashSet::new(), HashSet::new());
        let (mut groups, mut grants) = (HashSet::new(), HashSet::new());
        for operation in operations {
            match operation {
                Operation::Create(new) => {
                    targets.insert(new.target);
                    match new.grantee {
                        Grantee::User(id) => drop(users.insert(id.uuid())),
                        Grantee::Group(id) => drop(groups.insert(id.uuid())),
                        Grantee::Everyone => {}
                    }
                }
                Operation::Revoke(id) => drop(grants.insert(*id)),
                Operation::Malformed(_) => {}
            }
        }
        let tx = &mut write.tx;
        let users = store::known("users", tx, &Vec::from_iter(users)).await?;
        let groups = store::known("groups", tx, &Vec::from_iter(groups)).await?;
        let users = users.into_iter().map(|id| Member::User(UserId(id)));
        let groups = groups.into_iter().map(|id| Member::Group(GroupId(id)));
        let grants = store::grants::find_all(tx, &grants).await?;
        targets.extend(grants.iter().map(|grant| grant.fact.target));
        let models: Vec<Uuid> =
            targets.iter().filter_map(|target| target.model()).map(ModelId::uuid).collect();
        let models = store::known("models", tx, &models).await?;
        let sets: Vec<ModelSetId> = targets
            .iter()
            .filter_map(|target| match target {
                Target::Set(id) => Some(*id),
                Target::Model(_) => None,
            })
            .collect();
        let sets = manage::managed(write, &sets).await?;
        Ok(Self {
            models: models.into_iter().map(ModelId).collect(),
            sets: sets.into_iter().map(|(set, managed)| (set.id, managed)).collect(),
            members: users.chain(groups).collect(),
            grants: grants.into_iter().map(|grant| (grant.fact.id, grant)).collect(),
        })
    }

    fn may_manage(&self, write: &Write, target: Target) -> Result<(), Error> {
        match target {
            Target::Model(id) => {
                check::may_manage(write, id)?;
                if self.models.contains(&id) { Ok(()) } else { Err(Error::not_found("model", id)) }
            }
            Target::Set(id) => match self.sets.get(&id) {
                Some(true) => Ok(()),
                Some(false) => Err(Forbidden::ManageRequired.into()),
                None => Err(Error::not_found("model_set", id)),
            },
        }
    }

    fn decide(
        &self,
        write: &Write,
        operation: Operation,
        revoked: &mut HashSet<GrantId>,
    ) -> Result<Decided, Error> {
        match operation {
            Operation::Malformed(Malformed { field, problem }) => Err(Error::invalid(field, problem)),
            Operation::Create(new) => {
                self.may_manage(write, new.target)?;
                match new.grantee {
                    Grantee::User(id) if !self.members.contains(&Member::User(id)) => {
                        Err(Error::not_found("user", id))
                    }
                    Grantee::Group(id) if !self.members.contains(&Member::Group(id)) => {
                        Err(Error::not_found("group", id))
                    }
                    Grantee::User(_) | Grantee::Group(_) | Grantee::Everyone => {
                        Ok(Decided::Create(new.made(&write.origin)))
                    }
                }
            }
            Operation::Revoke(id) => {
                let grant = self.grants.get(&id).filter(|_| !revoked.contains(&id));
                let grant = grant.ok_or_else(|| Error::not_found("grant", id))?;
                self.may_manage(write, grant.fact.target)?;
                revoked.insert(id);
                Ok(Decided::Revoke(grant.clone()))
            }
        }
    }
}

/// The origin of one part of a request that is done in several transactions: a repetition finds each part by its place.
pub(crate) fn part_of(origin: &Origin, place: usize) -> Origin {
    Origin { repeat: origin.repeat.map(|repeat| repeat.part(place)), ..origin.clone() }
}

/// Takes one part of an import in, in the transaction that keeps its progress. What was taken in before is passed over.
pub(crate) async fn import(
    write: &mut Write,
    id: Uuid,
    offset: u64,
    operations: Vec<Operation>,
) -> Result<Progress, Error> {
    let progress = imports::stand(write, Kind::Grants, id, None).await?;
    let left: Vec<Operation> = operations.into_iter().skip(progress.over(offset)?).collect();
    let results = if left.is_empty() { Vec::new() } else { each(write, left).await? };
    let taken = results.into_iter().map(|result| result.map(|_| Taken::Created));
    progress.advance(write, taken).await
}

/// The operations in parts of one transaction each.
pub(crate) fn parts(operations: Vec<Operation>) -> impl Iterator<Item = Vec<Operation>> {
    let mut operations = operations.into_iter();
    std::iter::from_fn(move || {
        let part: Vec<Operation> = operations.by_ref().take(PART).collect();
        (!part.is_empty()).then_some(part)
    })
}
