//! Credentials against a policy that changes.

use super::*;
use crate::auth::token::{AUDIENCE, ISSUER, TokenSigner};
use policy::{Change, Key, KeyId, Revision, Role, Scope, SessionId, SigningKey, User, UserId};
use uuid::Uuid;

const NOW: Time = Time(1_700_000_000_000_000);
const USER: UserId = UserId(Uuid::from_u128(1));
const SESSION: SessionId = SessionId(Uuid::from_u128(2));
const EPOCH: Epoch = Epoch(Uuid::from_u128(4));

fn after(seconds: u64) -> Time {
    NOW.plus(Duration::from_secs(seconds))
}

fn signer(kid: &str, seed: u8) -> TokenSigner {
    TokenSigner::new(kid.to_owned(), &[seed; 32]).unwrap()
}

fn token(signer: &TokenSigner) -> String {
    let now = NOW.0 / 1_000_000;
    let claims = Claims {
        iss: ISSUER.to_owned(),
        aud: AUDIENCE.to_owned(),
        sub: USER,
        sid: SESSION,
        jti: Uuid::from_u128(3),
        iat: now,
        exp: now + 900,
        epoch: EPOCH,
        rev: Revision(1),
    };
    signer.sign(&claims).unwrap()
}

struct World {
    policy: Policy,
    tokens: Tokens,
    epoch: Epoch,
}

impl World {
    fn new() -> Self {
        let mut world = Self { policy: Policy::new(), tokens: Tokens::default(), epoch: EPOCH };
        world.user(Role::Member, false);
        world.key("k1", 7, None);
        world
    }

    fn apply(&mut self, change: Change) {
        self.policy.apply(&change).unwrap();
    }

    fn user(&mut self, role: Role, disabled: bool) {
        self.apply(Change::PutUser(User { id: USER, role, disabled }));
    }

    fn key(&mut self, kid: &str, seed: u8, until: Option<Time>) {
        let public = signer(kid, seed).public();
        self.apply(Change::PutSigningKey(SigningKey { id: kid.to_owned(), public, until }));
    }

    fn show(&self, token: &str, now: Time) -> Result<Person, Refusal> {
        self.show_later(token, now, now)
    }

    /// Shows it while nothing was heard since `at`.
    fn show_later(&self, token: &str, at: Time, now: Time) -> Result<Person, Refusal> {
        let known = Known { policy: &self.policy, epoch: Some(self.epoch), at };
        self.tokens.person(known, Credential::Token(token), None, now)
    }
}

#[test]
fn a_token_is_known_by_its_session_and_the_role_is_the_one_of_now() {
    let (mut world, token) = (World::new(), token(&signer("k1", 7)));
    let expected = |role| Person { user: USER, key: None, session: Some(SESSION), role, scopes: Scopes::ALL };
    assert_eq!(world.show(&token, NOW), Ok(expected(Role::Member)));
    world.user(Role::Admin, false);
    assert_eq!(world.show(&token, NOW), Ok(expected(Role::Admin)));
    world.user(Role::Admin, true);
    assert_eq!(world.show(&token, NOW), Err(Refusal::OwnerDisabled));
    world.apply(Change::RemoveUser(USER));
    assert_eq!(world.show(&token, NOW), Err(Refusal::OwnerDisabled));
}

#[test]
fn what_was_verified_once_is_still_held_against_everything_that_changes() {
    for seen_before in [false, true] {
        let fresh = || {
            let (world, token) = (World::new(), token(&signer("k1", 7)));
            if seen_before {
                world.show(&token, NOW).unwrap();
            }
            (world, token)
        };
        let (mut world, token) = fresh();
        world.apply(Change::EndSession { session: SESSION, at: NOW, until: after(3_600) });
        assert_eq!(world.show(&token, NOW), Err(Refusal::SessionEnded));

        let (world, token) = fresh();
        assert!(world.show(&token, Time(after(900).0 - 1)).is_ok());
        assert_eq!(world.show(&token, after(900)), Err(Refusal::TokenExpired));

        let (mut world, token) = fresh();
        world.key("k1", 7, Some(after(60)));
        assert!(world.show(&token, Time(after(60).0 - 1)).is_ok(), "while the overlap lasts");
        assert_eq!(world.show(&token, after(60)), Err(Refusal::Token), "from a retired key");
        world.apply(Change::RemoveSigningKey("k1".to_owned()));
        assert_eq!(world.show(&token, NOW), Err(Refusal::Token));

        let (mut world, token) = fresh();
        world.key("k1", 8, None);
        assert_eq!(world.show(&token, NOW), Err(Refusal::Token), "another key under the same name");

        let (mut world, token) = fresh();
        world.epoch = Epoch(Uuid::from_u128(5));
        assert_eq!(world.show(&token, NOW), Err(Refusal::Token), "of before the store was restored");
    }
}

#[test]
fn while_nothing_is_heard_a_token_lives_on_and_its_key_and_its_session_do_not_come_back() {
    let (mut world, token) = (World::new(), token(&signer("k1", 7)));
    let (heard, later) = (after(899), after(899 + 900));
    assert!(world.show_later(&token, heard, later).is_ok());
    assert_eq!(
        world.show_later(&token, after(900), later),
        Err(Refusal::TokenExpired),
        "it could be renewed"
    );
    world.key("k1", 7, Some(after(960)));
    assert!(world.show_later(&token, heard, later).is_ok(), "its key was good when that was last heard");
    world.key("k1", 7, Some(heard));
    assert_eq!(world.show_later(&token, heard, later), Err(Refusal::Token), "and now it was not");
    world.key("k1", 7, None);
    world.apply(Change::EndSession { session: SESSION, at: NOW, until: after(900) });
    assert_eq!(world.show_later(&token, heard, later), Err(Refusal::SessionEnded), "however long ago");
}

#[test]
fn a_key_of_another_installation_signs_nothing_here() {
    let world = World::new();
    assert_eq!(world.show(&token(&signer("k1", 9)), NOW), Err(Refusal::Token));
    assert_eq!(world.show(&token(&signer("k9", 9)), NOW), Err(Refusal::Token));
    assert_eq!(world.show("eyJ.e30.AAAA", NOW), Err(Refusal::Token));
}

#[test]
fn a_key_brings_its_scopes_and_is_bound_to_its_networks() {
    let mut world = World::new();
    let secret = |text: &str| Credential::Key(super::super::hash(text));
    let scopes: Scopes = [Scope::Inference].into_iter().collect();
    world.apply(Change::PutKey(Key {
        id: KeyId(Uuid::from_u128(6)),
        hash: super::super::hash("now"),
        owner: USER,
        models: None,
        expires_at: Some(after(60)),
        disabled: false,
        scopes,
        networks: vec!["192.0.2.0/24".parse().unwrap()],
        previous: vec![policy::OldSecret { hash: super::super::hash("before"), until: after(30) }],
    }));
    let show = |text: &str, peer: &str, now: Time| {
        let peer = Some(peer).filter(|peer| !peer.is_empty()).map(|peer| peer.parse().unwrap());
        let known = Known { policy: &world.policy, epoch: Some(EPOCH), at: NOW };
        world.tokens.person(known, secret(text), peer, now)
    };
    let person = show("now", "192.0.2.7", NOW).unwrap();
    assert_eq!((person.scopes, person.key, person.session), (scopes, Some(KeyId(Uuid::from_u128(6))), None));
    assert_eq!(show("now", "198.51.100.7", NOW), Err(Refusal::Network));
    assert_eq!(show("now", "", NOW), Err(Refusal::Network), "an address that is not known is in no network");
    assert!(show("before", "192.0.2.7", NOW).is_ok());
    assert_eq!(show("before", "192.0.2.7", after(30)), Err(Refusal::Expired));
    assert_eq!(show("now", "192.0.2.7", after(60)), Err(Refusal::Expired));
    assert_eq!(show("never", "192.0.2.7", NOW), Err(Refusal::Unknown));
}
