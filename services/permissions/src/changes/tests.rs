//! The order of events and instants: nothing is lost or told twice, from whatever position a watcher goes on.

use super::{
    schedule::{Expiry, Schedule, Timed},
    timeline::{Item, Position, ResumeToken, Timeline, Told},
};
use crate::store::events::Stored;
use policy::{
    Action, Change, Effect, Epoch, Grant, GrantId, Grantee, Group, GroupId, Key, KeyHash, KeyId, Member,
    Membership, Model, ModelId, ModelState, Policy, Revision, Role, Target, Time, User, UserId,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use shared::event::Event;
use std::{collections::BTreeSet, sync::Arc};
use uuid::Uuid;

type Transaction = Vec<(Arc<Stored>, Option<Change>)>;

fn user(n: u128) -> UserId {
    UserId(Uuid::from_u128(1_000 + n))
}

fn group(n: u128) -> GroupId {
    GroupId(Uuid::from_u128(2_000 + n))
}

fn model(n: u128) -> ModelId {
    ModelId(Uuid::from_u128(3_000 + n))
}

fn grant(n: u128, starts_at: Option<i64>, expires_at: Option<i64>) -> Grant {
    Grant {
        id: GrantId(Uuid::from_u128(4_000 + n)),
        grantee: Grantee::User(user(n % 2)),
        target: Target::Model(model(n % 2)),
        action: Action::Use,
        effect: Effect::Allow,
        starts_at: starts_at.map(Time),
        expires_at: expires_at.map(Time),
    }
}

fn membership(n: u128, expires_at: Option<i64>) -> Membership {
    Membership { group: group(n), member: Member::User(user(n)), expires_at: expires_at.map(Time) }
}

fn key(n: u128, expires_at: i64, disabled: bool) -> Key {
    Key {
        id: KeyId(Uuid::from_u128(5_000 + n)),
        hash: KeyHash::new([u8::try_from(n).unwrap(); 32]),
        owner: user(n % 2),
        models: None,
        expires_at: Some(Time(expires_at)),
        disabled,
        scopes: policy::Scopes::ALL,
        networks: Vec::new(),
        previous: Vec::new(),
    }
}

/// Two users, groups and models.
fn ground() -> Vec<Change> {
    let mut facts = Vec::new();
    for n in 0..2 {
        facts.push(Change::PutUser(User { id: user(n), role: Role::Member, disabled: false }));
        facts.push(Change::PutGroup(Group { id: group(n), disabled: false }));
        let name = format!("m{n}");
        let model = Model { id: model(n), name, owner: None, state: ModelState::Active };
        facts.push(Change::PutModel(model));
    }
    facts
}

fn transaction(revision: u64, at: i64, changes: Vec<Change>) -> Transaction {
    let event = |ordinal: usize| Event {
        revision: Revision(revision),
        ordinal: u32::try_from(ordinal).unwrap(),
        at: Time(at),
        actor: "system".to_owned(),
        key: None,
        request_id: String::new(),
        reason: String::new(),
        kind: "grant".to_owned(),
        id: String::new(),
        action: "updated".to_owned(),
        before: None,
        after: None,
        change: None,
    };
    let stored = |number| Arc::new(Stored { event: event(number), link: None });
    changes.into_iter().enumerate().map(|(number, change)| (stored(number), Some(change))).collect()
}

fn timeline(facts: Vec<Change>, revision: u64, instant: i64) -> Timeline {
    Timeline::new(Schedule::new(facts), Position::at(Revision(revision), Time(instant)))
}

/// What was told, to compare: events by place, instants by themselves.
fn names(told: &[Told]) -> Vec<String> {
    told.iter()
        .map(|(_, item)| match item {
            Item::Event(stored) => format!("{}.{}", stored.event.revision, stored.event.ordinal),
            Item::Expiry(expiry) => format!("{expiry:?}"),
        })
        .collect()
}

fn expiry(at: i64, what: Timed, began: bool) -> String {
    format!("{:?}", Expiry { at: Time(at), began, what })
}

fn of(grant: &Grant) -> Timed {
    Timed::Grant(grant.id)
}

#[test]
fn each_beginning_and_end_is_told_at_its_instant() {
    let (limited, membership, key) =
        (grant(0, Some(100), Some(200)), membership(0, Some(150)), key(0, 200, false));
    let mut facts = ground();
    facts.extend([
        Change::PutGrant(limited),
        Change::PutMembership(membership),
        Change::PutKey(key.clone()),
        Change::PutKey(self::key(1, 150, true)),
        Change::PutGrant(grant(1, Some(120), Some(110))),
    ]);
    let mut line = timeline(facts, 1, 50);
    let mut tell = |until| {
        let mut told = Vec::new();
        line.pass(Time(until), &mut told);
        (names(&told), line.next())
    };
    assert_eq!(tell(99), (vec![], Some(Time(100))));
    assert_eq!(tell(100), (vec![expiry(100, of(&limited), true)], Some(Time(150))));
    assert_eq!(tell(101), (vec![], Some(Time(150))));
    let member = Timed::Membership(membership.group, membership.member);
    assert_eq!(tell(150), (vec![expiry(150, member, false)], Some(Time(200))));
    assert_eq!(tell(199), (vec![], Some(Time(200))));
    let ends = vec![expiry(200, of(&limited), false), expiry(200, Timed::Key(key.id), false)];
    assert_eq!(tell(200), (ends, None));
    assert_eq!(tell(i64::MAX), (vec![], None));
}

#[test]
fn what_is_taken_away_does_not_end_any_more() {
    let changes: [fn() -> Change; 5] = [
        || Change::RemoveGrant(grant(0, None, None).id),
        || Change::RemoveUser(user(0)),
        || Change::RemoveModel(model(0)),
        || Change::PutGrant(grant(0, None, None)),
        || Change::PutGrant(grant(0, None, Some(900))),
    ];
    for change in changes {
        let mut facts = ground();
        facts.push(Change::PutGrant(grant(0, None, Some(200))));
        let mut line = timeline(facts, 1, 50);
        let mut told = Vec::new();
        line.step(&transaction(2, 199, vec![change()]), &mut told);
        line.pass(Time(500), &mut told);
        assert_eq!(names(&told), ["2.0"], "{:?}", change());
    }
}

#[test]
fn what_ended_before_an_event_is_told_before_it_and_what_arrives_late_after_it() {
    let mut facts = ground();
    facts.push(Change::PutGrant(grant(0, None, Some(100))));
    let mut line = timeline(facts, 1, 50);
    let mut told = Vec::new();
    line.step(&transaction(2, 150, vec![Change::RemoveGrant(grant(0, None, None).id)]), &mut told);
    assert_eq!(names(&told), [expiry(100, of(&grant(0, None, None)), false), "2.0".to_owned()]);
    // Made at 160, known here at 300 only: the beginning at 200 was not told when it came.
    line.pass(Time(300), &mut told);
    told.clear();
    let late = grant(1, Some(200), Some(400));
    line.step(&transaction(3, 160, vec![Change::PutGrant(late)]), &mut told);
    line.pass(Time(400), &mut told);
    assert_eq!(names(&told), ["3.0".to_owned(), expiry(200, of(&late), true), expiry(400, of(&late), false)]);
    // The same again is nothing new.
    told.clear();
    line.step(&transaction(4, 170, vec![Change::PutGrant(late)]), &mut told);
    assert_eq!(names(&told), ["4.0"]);
}

#[test]
fn a_token_survives_the_way_out_and_back_and_nonsense_is_refused() {
    let position = Position { revision: Revision(7), told: 3, instant: Time(-5), group: 9 };
    let token = ResumeToken { epoch: Epoch(Uuid::from_u128(1)), position };
    assert_eq!(ResumeToken::decode(&token.encode()).unwrap(), Some(token));
    assert_eq!(ResumeToken::decode("").unwrap(), None);
    for nonsense in ["x", "AAAA", "%%%", &format!("{}AA", token.encode()), &token.encode()[..50]] {
        assert!(ResumeToken::decode(nonsense).is_err(), "{nonsense}");
    }
}

/// A log of random transactions, a few units of time apart.
fn random_log(random: &mut StdRng) -> Vec<(i64, Vec<Change>)> {
    let (mut now, mut log) = (0, vec![(0, ground())]);
    for _ in 0..12 {
        now += random.random_range(0..15);
        let changes = (0..random.random_range(1..4)).map(|_| random_change(random, now)).collect();
        log.push((now, changes));
    }
    log
}

fn random_change(random: &mut StdRng, now: i64) -> Change {
    let n = random.random_range(0..4);
    let mut instant = || now + random.random_range(-3..30);
    let (one, other) = (instant(), instant());
    match random.random_range(0..7) {
        0..=2 => Change::PutGrant(grant(n, Some(one.min(other)), Some(one.max(other)))),
        3 => Change::RemoveGrant(grant(n, None, None).id),
        4 => Change::PutMembership(membership(n % 2, Some(one))),
        5 => Change::PutKey(key(n, one, random.random_bool(0.3))),
        _ => Change::RemoveKey(key(n, one, false).id),
    }
}

fn policy_after(log: &[(i64, Vec<Change>)], revision: Revision) -> Policy {
    let known = log.iter().take(usize::try_from(revision.get()).unwrap());
    Policy::from_facts(known.flat_map(|(_, changes)| changes)).unwrap()
}

/// Tells the whole log; events arrive as late as the delay says.
fn tell_all(log: &[(i64, Vec<Change>)], end: i64, mut delay: impl FnMut() -> i64) -> Vec<Told> {
    let (mut line, mut told) = (timeline(Vec::new(), 0, -1), Vec::new());
    for (revision, (at, changes)) in (1..).zip(log) {
        line.pass(Time(at + delay()), &mut told);
        line.step(&transaction(revision, *at, changes.clone()), &mut told);
    }
    line.pass(Time(end), &mut told);
    told
}

/// Tells what comes after a position.
fn tell_from(log: &[(i64, Vec<Change>)], from: Position, end: i64) -> Vec<Told> {
    let mut line = Timeline::new(Schedule::new(policy_after(log, from.revision).facts()), from);
    let mut told = Vec::new();
    line.finish_instant(&mut told);
    let known = usize::try_from(from.revision.get()).unwrap();
    for (revision, (at, changes)) in (1..).zip(log).skip(known) {
        line.step(&transaction(revision, *at, changes.clone()), &mut told);
    }
    line.pass(Time(end), &mut told);
    told
}

#[test]
fn from_every_position_the_rest_follows() {
    for seed in 0..60 {
        let mut random = StdRng::seed_from_u64(seed);
        let log = random_log(&mut random);
        let end = log.last().unwrap().0 + 40;
        let all = tell_all(&log, end, || 0);
        assert!(all.windows(2).all(|two| two[0].0 < two[1].0), "positions grow, seed {seed}");
        for (number, (position, _)) in all.iter().enumerate() {
            let rest = tell_from(&log, *position, end);
            assert_eq!(names(&rest), names(&all[number + 1..]), "seed {seed}, position {position:?}");
        }
    }
}

#[test]
fn whatever_arrives_late_is_told_once_and_nothing_that_stays_is_lost() {
    for seed in 0..60 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut log = random_log(&mut random);
        // Every fact is put once, so that the same instant twice would be a repetition.
        let mut seen = BTreeSet::new();
        for (_, changes) in log.iter_mut().skip(1) {
            changes.retain(|change| {
                let put = serde_json::to_value(change).unwrap();
                let kind = put.as_object().unwrap().keys().next().unwrap().clone();
                kind.starts_with("put") && seen.insert(format!("{kind} {}", id(change)))
            });
            if changes.is_empty() {
                changes.push(Change::PutGroup(Group { id: group(0), disabled: false }));
            }
        }
        let end = log.last().unwrap().0 + 40;
        let all = tell_all(&log, end, || random.random_range(0..12));
        let expected: BTreeSet<String> = Schedule::new(log.iter().flat_map(|(_, changes)| changes.clone()))
            .between(Time(i64::MIN), Time(end))
            .filter(|expiry| expiry.at > put_at(&log, expiry.what))
            .map(|expiry| format!("{expiry:?}"))
            .collect();
        let check = |told: &[Told], which: &str| {
            let told = names(told);
            let instants: Vec<&String> = told.iter().filter(|name| name.starts_with("Expiry")).collect();
            let once: BTreeSet<String> = instants.iter().map(|name| (*name).clone()).collect();
            assert_eq!(once.len(), instants.len(), "told twice, seed {seed}, {which}");
            assert_eq!(once, expected, "seed {seed}, {which}");
        };
        check(&all, "all at once");
        for number in 0..all.len() {
            let position = all[number].0;
            let mut told = all[..=number].to_vec();
            told.extend(tell_from(&log, position, end));
            check(&told, &format!("interrupted at {position:?}"));
        }
    }
}

fn id(change: &Change) -> String {
    match change {
        Change::PutGrant(grant) => grant.id.to_string(),
        Change::PutMembership(membership) => format!("{:?} {:?}", membership.group, membership.member),
        Change::PutKey(key) => key.id.to_string(),
        _ => String::new(),
    }
}

/// When the one change that put a fact was made.
fn put_at(log: &[(i64, Vec<Change>)], what: Timed) -> Time {
    let puts = |change: &Change| match change {
        Change::PutGrant(grant) => Timed::Grant(grant.id) == what,
        Change::PutMembership(one) => Timed::Membership(one.group, one.member) == what,
        Change::PutKey(key) => Timed::Key(key.id) == what,
        _ => false,
    };
    let found = log.iter().find(|(_, changes)| changes.iter().any(puts));
    Time(found.map_or(i64::MAX, |(at, _)| *at))
}
