//! The life of keys, over months that pass in no time.

use super::*;
use crate::{MIGRATIONS, tail::Tail, token::Tokens};
use policy::Bounds;
use shared::{
    auth::token::{self, AUDIENCE, Claims, ISSUER},
    db::Db,
    health::Health,
};

const DAY: u64 = 24 * 60 * 60;

struct World {
    signing: Signing,
    tasks: Tasks,
    begin: Time,
}

impl World {
    async fn new() -> Self {
        let db = Db::memory(&MIGRATIONS).await.unwrap();
        let (tasks, config) = (Tasks::default(), Config::default());
        let bounds = Bounds { fresh_within: config.fresh_within, serve_stale_for: config.serve_stale_for };
        let reporter = Health::default().component("policy", true);
        let sealer = Sealer::new(&[Sealer::generate()]).unwrap();
        let tokens = Tokens::new(Uuid::from_u128(1), &sealer);
        let tail = Tail::start(db.clone(), tokens, bounds, config.poll_interval, &tasks, reporter);
        let tail = tail.await.unwrap();
        let signing = Signing::new(Writer::new(db, tail, sealer), &config);
        Self { signing, tasks, begin: time::now() }
    }

    fn at(&self, seconds: u64) -> Time {
        self.begin.plus(Duration::from_secs(seconds))
    }

    async fn tend(&self, seconds: u64) {
        self.signing.tend(self.at(seconds)).await.unwrap();
    }

    async fn keys(&self) -> Vec<SigningKey> {
        store::signing::all(self.signing.writer.db()).await.unwrap()
    }

    /// A token made then.
    async fn token(&self, seconds: u64) -> String {
        let now = self.at(seconds).0 / 1_000_000;
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: policy::UserId(Uuid::nil()),
            sid: policy::SessionId(Uuid::nil()),
            jti: Uuid::nil(),
            iat: now,
            exp: now + 3_600,
            epoch: policy::Epoch(Uuid::nil()),
            rev: policy::Revision(0),
        };
        self.signing.signer(self.at(seconds)).await.unwrap().sign(&claims).unwrap()
    }

    /// Whether the policy has a key for a token then.
    fn is_known(&self, token: &str, seconds: u64) -> bool {
        let (now, replica) = (self.at(seconds), self.signing.writer.tail().replica());
        let public = |kid: &str| Some(replica.policy().signing_key(kid, now)?.public);
        token::verify(token, public).is_ok_and(|(claims, _)| token::in_time(&claims, now, now).is_ok())
    }
}

#[tokio::test]
async fn a_key_signs_for_thirty_days_and_its_last_token_lives_its_life() {
    let world = World::new().await;
    world.tend(0).await;
    let first = world.keys().await.remove(0);
    assert_eq!((first.active_at, first.until), (world.at(0), None));
    world.tend(30 * DAY - 301).await;
    assert_eq!(world.keys().await.len(), 1, "nothing is due");
    world.tend(30 * DAY - 300).await;
    let keys = world.keys().await;
    assert_eq!((keys.len(), keys[1].active_at), (2, world.at(30 * DAY)), "published five minutes before");
    let last = world.token(30 * DAY - 1).await;
    let next = world.token(30 * DAY).await;
    assert!(last.split('.').next() != next.split('.').next(), "signed by another key");
    for seconds in [30 * DAY, 30 * DAY + 3_598] {
        assert!(world.is_known(&last, seconds) && world.is_known(&next, seconds));
    }
    world.tend(30 * DAY + 3_600 + 299).await;
    assert_eq!(world.keys().await.len(), 2);
    world.tend(30 * DAY + 3_600 + 300).await;
    let keys = world.keys().await;
    assert_eq!((keys.len(), keys[0].active_at), (1, world.at(30 * DAY)), "the first one is forgotten");
    assert!(!world.is_known(&last, 30 * DAY), "also by the policy");
    assert!(world.tasks.end(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn whatever_is_rotated_when_something_signs_at_every_moment() {
    let world = World::new().await;
    world.tend(0).await;
    let mut seconds = 0;
    for (pause, compromised) in
        [(10, false), (10, false), (290, false), (400, true), (1, false), (1, true), (5_000, false)]
    {
        seconds += pause;
        let origin = Origin::own(Actor::System, "test", world.at(seconds));
        let rotate = async |write: &mut Write| world.signing.rotate(write, compromised).await.map(drop);
        world.signing.writer.make(origin, rotate).await.unwrap();
        world.tend(seconds).await;
        for later in [0, 1, 299, 300, 301, 3_000] {
            let token = world.token(seconds + later).await;
            assert!(world.is_known(&token, seconds + later), "{later} s after {seconds}");
        }
        let signing = world.keys().await.iter().filter(|key| key.signs_at(world.at(seconds))).count();
        assert_eq!(signing, 1, "at {seconds}");
    }
    assert!(world.tasks.end(Duration::from_secs(5)).await);
}
