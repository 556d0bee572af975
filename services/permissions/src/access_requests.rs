//! Asking for a model: who may ask, who decides, what is granted, and who is told.
//!
//! What may follow on what is in [`crate::approval`]; here it meets the policy, the tables and the grant that an
//! approval makes in the same transaction.

use crate::{
    approval::{Case, Decision, Outcome, Review, State, Wish},
    approval_policies, check,
    error::{Error, Forbidden},
    grants::{self, NewGrant},
    list::{Listed, Page},
    notifications::{self, Kind},
    store,
    tail::Tail,
    write::{Actor, Origin, Record, Thing, Write, Writer},
};
use policy::{
    Action, Effect, GrantId, Grantee, GroupId, ModelId, Policy, Reason, Role, Target, Time, UserId,
};
use serde_json::{Value, json};
use shared::{auth::Person, db::Db, server::Tasks, time};
use std::time::Duration;
use uuid::Uuid;

/// Between two looks for requests whose time is over.
const LOOK: Duration = Duration::from_secs(15);
/// Most people who are told of one request.
const TOLD: usize = 100;
/// Open requests read for one page of those that somebody may decide.
const SCANNED: i64 = 1_000;

/// A wish for a model, and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct AccessRequest {
    pub(crate) id: Uuid,
    pub(crate) model: ModelId,
    pub(crate) justification: String,
    /// Whose members decide; `None`: whoever may manage the model.
    pub(crate) approvers: Option<GroupId>,
    pub(crate) grant: Option<GrantId>,
    pub(crate) created_at: Time,
    pub(crate) case: Case,
    pub(crate) comments: Vec<Comment>,
}

/// A remark.
#[derive(Debug, Clone)]
pub(crate) struct Comment {
    pub(crate) author: UserId,
    pub(crate) text: String,
    pub(crate) at: Time,
}

/// What a new request is made of.
#[derive(Debug)]
pub(crate) struct NewRequest {
    pub(crate) model: ModelId,
    pub(crate) wish: Wish,
    pub(crate) justification: String,
    pub(crate) break_glass: bool,
}

/// What an approver says.
#[derive(Debug)]
pub(crate) struct Say {
    pub(crate) approved: bool,
    pub(crate) comment: String,
    pub(crate) duration: Option<Duration>,
    pub(crate) use_only: bool,
}

/// Which requests are listed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum View {
    Of(UserId),
    Open,
    All,
}

impl AccessRequest {
    /// The request as events show it: ids and states, nobody's words.
    fn image(&self) -> Value {
        json!({
            "requester": self.case.requester,
            "model": self.model,
            "action": self.case.wish.action,
            "seconds": self.case.wish.duration.map(|duration| duration.as_secs()),
            "break_glass": self.case.break_glass,
            "state": self.case.state.as_str(),
            "review": self.case.review.map(Review::as_str),
            "grant": self.grant,
        })
    }

    fn thing(&self) -> Thing {
        Thing::new("access_request", self.id)
    }
}

pub(crate) async fn create(write: &mut Write, new: NewRequest) -> Result<AccessRequest, Error> {
    let person = caller(write)?;
    if store::models::find(&mut write.tx, new.model).await?.is_none() {
        return Err(Error::not_found("model", new.model));
    }
    check::within_key_of(write.policy()?, &person, new.model)?;
    missing(write, &person, &new)?;
    if new.break_glass && store::access_requests::owes_review(&mut write.tx, person.user).await? {
        return Err(Error::ReviewOutstanding);
    }
    let rules = approval_policies::rules_for(write, new.model).await?;
    let in_auto_group = rules.auto.and_then(|auto| auto.group).is_some_and(|group| {
        write.policy().is_ok_and(|tail| is_in(tail.replica().policy(), person.user, group, write.now()))
    });
    let now = write.now();
    let (case, outcome) = Case::open(&rules, person.user, new.wish, new.break_glass, in_auto_group, now)?;
    let mut request = AccessRequest {
        id: Uuid::now_v7(),
        model: new.model,
        justification: new.justification,
        approvers: rules.approvers,
        grant: None,
        created_at: now,
        case,
        comments: Vec::new(),
    };
    follow(write, &mut request, outcome, None).await?;
    store::access_requests::insert(&mut write.tx, &request).await.map_err(pending)?;
    write.record(Record::created(request.thing(), request.image()));
    let kind = if request.case.review.is_some() { Kind::ToReview } else { Kind::ToDecide };
    if outcome == Outcome::Waiting || request.case.review.is_some() {
        let told = approvers(write, &request)?;
        notifications::tell(write, &told, kind, request.id).await?;
    }
    Ok(request)
}

/// Nobody asks for what they have, or for what a deny stands against.
fn missing(write: &Write, person: &Person, new: &NewRequest) -> Result<(), Error> {
    let replica = write.policy()?.replica();
    let decision = replica.policy().check(person.user, new.model, new.wish.action, write.now());
    match (decision.allowed, decision.reason) {
        (true, _) => Err(Error::AlreadyAllowed),
        (false, Reason::Denied) => Err(Error::DenyStands),
        (false, _) => Ok(()),
    }
}

pub(crate) async fn decide(write: &mut Write, id: Uuid, say: Say) -> Result<AccessRequest, Error> {
    let (person, mut request) = open_to(write, id).await?;
    let (known, before, now) = (request.case.decisions.len(), request.image(), write.now());
    let Say { approved, comment, duration, use_only } = say;
    let approver = Some(person.user);
    let decision = Decision { approver, approved, comment, duration, use_only, at: now };
    let outcome = request.case.decide(decision, now)?;
    follow(write, &mut request, outcome, Some(person.user)).await?;
    store::access_requests::update(&mut write.tx, &request, known).await?;
    let action = if approved { "approved" } else { "denied" };
    write.record(Record::updated(request.thing(), before, request.image()).called(action));
    if request.case.state != State::Pending {
        notifications::tell(write, &[request.case.requester], Kind::Decided, request.id).await?;
    }
    Ok(request)
}

pub(crate) async fn review(
    write: &mut Write,
    id: Uuid,
    accept: bool,
    comment: String,
) -> Result<AccessRequest, Error> {
    let (person, mut request) = open_to(write, id).await?;
    let (known, before) = (request.case.decisions.len(), request.image());
    let outcome = request.case.review(person.user, accept)?;
    follow(write, &mut request, outcome, None).await?;
    store::access_requests::update(&mut write.tx, &request, known).await?;
    if !comment.is_empty() {
        remark(write, &mut request, person.user, comment).await?;
    }
    write.record(Record::updated(request.thing(), before, request.image()).called("reviewed"));
    notifications::tell(write, &[request.case.requester], Kind::Decided, request.id).await?;
    Ok(request)
}

pub(crate) async fn cancel(write: &mut Write, id: Uuid) -> Result<AccessRequest, Error> {
    let person = caller(write)?;
    let mut request = visible(write, id, &person).await?;
    let (known, before, now) = (request.case.decisions.len(), request.image(), write.now());
    request.case.cancel(person.user, now)?;
    store::access_requests::update(&mut write.tx, &request, known).await?;
    write.record(Record::updated(request.thing(), before, request.image()).called("cancelled"));
    Ok(request)
}

/// Cancels a pending request in the name of its requester, who is erased.
pub(crate) async fn withdraw(write: &mut Write, id: Uuid) -> Result<(), Error> {
    let Some(mut request) = store::access_requests::find(&mut write.tx, id).await? else { return Ok(()) };
    let (known, before, now) = (request.case.decisions.len(), request.image(), write.now());
    request.case.withdraw(now);
    store::access_requests::update(&mut write.tx, &request, known).await?;
    write.record(Record::updated(request.thing(), before, request.image()).called("cancelled"));
    Ok(())
}

pub(crate) async fn comment(write: &mut Write, id: Uuid, text: String) -> Result<AccessRequest, Error> {
    let person = caller(write)?;
    let mut request = visible(write, id, &person).await?;
    if person.user != request.case.requester && !may_decide(write.policy()?, &person, &request, write.now()) {
        return Err(Forbidden::ApproverRequired.into());
    }
    remark(write, &mut request, person.user, text).await?;
    let image = request.image();
    write.record(Record::updated(request.thing(), image.clone(), image).called("commented"));
    let told = if person.user == request.case.requester {
        approvers(write, &request)?
    } else {
        vec![request.case.requester]
    };
    notifications::tell(write, &told, Kind::Comment, request.id).await?;
    Ok(request)
}

async fn remark(
    write: &mut Write,
    request: &mut AccessRequest,
    author: UserId,
    text: String,
) -> Result<(), Error> {
    let comment = Comment { author, text, at: write.now() };
    store::access_requests::comment(&mut write.tx, request.id, &comment).await?;
    request.comments.push(comment);
    Ok(())
}

/// Does what a step leads to: makes the grant or takes it back.
async fn follow(
    write: &mut Write,
    request: &mut AccessRequest,
    outcome: Outcome,
    granted_by: Option<UserId>,
) -> Result<(), Error> {
    match outcome {
        Outcome::Waiting | Outcome::Nothing => {}
        Outcome::Grant(wish) => {
            let new = NewGrant {
                target: Target::Model(request.model),
                grantee: Grantee::User(request.case.requester),
                action: wish.action,
                effect: Effect::Allow,
                starts_at: None,
                expires_at: wish.duration.map(|duration| write.now().plus(duration)),
            };
            request.grant = Some(grants::give(write, new, granted_by).await?.fact.id);
        }
        Outcome::Revoke => {
            if let Some(grant) = request.grant {
                grants::take(write, grant).await?;
            }
        }
    }
    Ok(())
}

/// A request as its requester, its approvers and those who read everything see it. To others it does not exist.
pub(crate) async fn get(db: &Db, tail: &Tail, id: Uuid, person: &Person) -> Result<AccessRequest, Error> {
    let mut tx = db.begin_read().await?;
    let found = store::access_requests::find(&mut tx, id).await?;
    tx.commit().await?;
    let seen = found.filter(|request| sees(tail, person, request, time::now()));
    seen.ok_or_else(|| Error::not_found("access request", id))
}

pub(crate) async fn list(
    db: &Db,
    view: View,
    state: Option<State>,
    page: &Page,
) -> Result<Listed<AccessRequest>, Error> {
    let rows = store::access_requests::list(db, &view, state, page.before_id()?, page.limit()).await?;
    Ok(page.cut(rows, |request| request.id.to_string()))
}

/// The open requests that a person may decide or review. A page may be short although there is a next one: the rest
/// of what was read is for others.
pub(crate) async fn list_to_decide(
    db: &Db,
    tail: &Tail,
    person: &Person,
    page: &Page,
) -> Result<Listed<AccessRequest>, Error> {
    let rows = store::access_requests::list(db, &View::Open, None, page.before_id()?, SCANNED).await?;
    let full = i64::try_from(rows.len()).is_ok_and(|read| read == SCANNED);
    let (last, now) = (rows.last().map(|request| request.id.to_string()), time::now());
    let may = |request: &AccessRequest| {
        let open =
            request.case.state_at(now) == State::Pending || request.case.review == Some(Review::Pending);
        open && request.case.requester != person.user && may_decide(tail, person, request, now)
    };
    let mut listed = page.cut(rows.into_iter().filter(may).collect(), |request| request.id.to_string());
    if listed.next.is_empty() && full {
        listed.next = last.map(|last| page.next(&last)).unwrap_or_default();
    }
    Ok(listed)
}

/// Ends pending requests whose time is over, at intervals.
pub(crate) fn start(writer: &Writer, tasks: &Tasks) {
    let writer = writer.clone();
    tasks.repeat(LOOK, move || {
        let writer = writer.clone();
        async move {
            if let Err(error) = expire_due(&writer, time::now()).await {
                tracing::warn!(%error, "requests whose time is over could not be ended; it is tried again");
            }
        }
    });
}

async fn expire_due(writer: &Writer, now: Time) -> Result<(), Error> {
    for id in store::access_requests::due(writer.db(), now).await? {
        let origin = Origin::own(Actor::System, "nobody decided in time", now);
        writer.make(origin, async |write| expire(write, id).await).await?;
    }
    Ok(())
}

async fn expire(write: &mut Write, id: Uuid) -> Result<(), Error> {
    let Some(mut request) = store::access_requests::find(&mut write.tx, id).await? else { return Ok(()) };
    let (known, before) = (request.case.decisions.len(), request.image());
    if request.case.expire(write.now()) {
        store::access_requests::update(&mut write.tx, &request, known).await?;
        write.record(Record::updated(request.thing(), before, request.image()).called("expired"));
        notifications::tell(write, &[request.case.requester], Kind::Decided, request.id).await?;
    }
    Ok(())
}

/// The request, and the caller who may decide about it.
async fn open_to(write: &mut Write, id: Uuid) -> Result<(Person, AccessRequest), Error> {
    let person = caller(write)?;
    let request = visible(write, id, &person).await?;
    check::within_key_of(write.policy()?, &person, request.model)?;
    if person.user != request.case.requester && !may_decide(write.policy()?, &person, &request, write.now()) {
        return Err(Forbidden::ApproverRequired.into());
    }
    Ok((person, request))
}

async fn visible(write: &mut Write, id: Uuid, person: &Person) -> Result<AccessRequest, Error> {
    let found = store::access_requests::find(&mut write.tx, id).await?;
    let tail = write.policy()?;
    let seen = found.filter(|request| sees(tail, person, request, write.now()));
    seen.ok_or_else(|| Error::not_found("access request", id))
}

fn sees(tail: &Tail, person: &Person, request: &AccessRequest, now: Time) -> bool {
    let reads_all = person.role == Role::Auditor;
    person.user == request.case.requester || reads_all || may_decide(tail, person, request, now)
}

/// Owners and admins, the members of the approver group, or without one whoever may manage the model.
fn may_decide(tail: &Tail, person: &Person, request: &AccessRequest, now: Time) -> bool {
    if matches!(person.role, Role::Owner | Role::Admin) {
        return true;
    }
    let replica = tail.replica();
    match request.approvers {
        Some(group) => is_in(replica.policy(), person.user, group, now),
        None => replica.policy().check(person.user, request.model, Action::Manage, now).allowed,
    }
}

/// Who is told of a request: those who may decide it, and when there is nobody else, owners and admins.
fn approvers(write: &Write, request: &AccessRequest) -> Result<Vec<UserId>, Error> {
    let (replica, now) = (write.policy()?.replica(), write.now());
    let policy = replica.policy();
    let others = |user: &UserId| *user != request.case.requester;
    let enabled = || policy.users().filter(|user| !user.disabled);
    let mut told: Vec<UserId> = match request.approvers {
        Some(group) => {
            enabled().map(|user| user.id).filter(|user| is_in(policy, *user, group, now)).collect()
        }
        None => policy.subjects_of(request.model, Action::Manage, now),
    };
    told.retain(others);
    if told.is_empty() {
        let office = |role| matches!(role, Role::Owner | Role::Admin);
        told = enabled().filter(|user| office(user.role)).map(|user| user.id).filter(others).collect();
    }
    told.truncate(TOLD);
    Ok(told)
}

fn is_in(policy: &Policy, user: UserId, group: GroupId, now: Time) -> bool {
    policy.groups_of(user, now).any(|of| of == group)
}

fn caller(write: &Write) -> Result<Person, Error> {
    Ok(*write.origin.person().ok_or(Forbidden::NotYourself)?)
}

fn pending(error: store::StoreError) -> Error {
    if error.is_duplicate() {
        return Error::Exists { kind: "access request", with: "pending for the same model and action" };
    }
    error.into()
}
