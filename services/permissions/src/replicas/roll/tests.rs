use super::*;
use policy::{Epoch, Revision};
use rand::{RngExt, SeedableRng, rngs::StdRng};

const LEASE: Duration = Duration::from_secs(3);
const EPOCH: Epoch = Epoch(Uuid::from_u128(1));
const WANTED: Token = Token { epoch: EPOCH, revision: Revision(5) };

fn at(revision: u64) -> Token {
    Token { epoch: EPOCH, revision: Revision(revision) }
}

fn ms(millis: u64) -> Time {
    Time(i64::try_from(millis).unwrap() * 1_000)
}

fn id(number: u64) -> Uuid {
    Uuid::from_u128(u128::from(number) + 1)
}

#[test]
fn a_replica_lags_until_it_says_it_has_the_revision_or_its_lease_is_over() {
    let mut roll = Roll::new(LEASE);
    assert_eq!(roll.laggards(WANTED, ms(0)), Vec::<String>::new(), "nobody lags where nobody is");
    roll.hear(id(1), "one", at(4), ms(0));
    roll.hear(id(2), "two", at(4), ms(0));
    assert_eq!(roll.laggards(WANTED, ms(10)), ["one", "two"]);
    roll.hear(id(1), "one", at(5), ms(20));
    assert_eq!(roll.laggards(WANTED, ms(3_000)), ["two"], "the lease includes its last instant");
    assert_eq!(roll.laggards(WANTED, ms(3_001)), Vec::<String>::new());
    roll.hear(id(2), "two", at(4), ms(3_500));
    assert_eq!(roll.laggards(WANTED, ms(3_600)), ["two"], "back, and still without it");
}

#[test]
fn late_words_and_other_epochs_do_not_count() {
    let mut roll = Roll::new(LEASE);
    roll.hear(id(1), "one", at(5), ms(100));
    roll.hear(id(1), "one", at(4), ms(50));
    assert_eq!(roll.laggards(WANTED, ms(200)), Vec::<String>::new());
    let other = Token { epoch: Epoch(Uuid::from_u128(9)), revision: Revision(99) };
    roll.hear(id(2), "two", other, ms(150));
    assert_eq!(roll.laggards(WANTED, ms(200)), ["two"]);
}

/// A replica as it is, whatever has been heard of it.
struct Replica {
    revision: u64,
    applies_at: u64,
    dies_at: u64,
    /// From then on nothing of it arrives.
    cut_at: u64,
    said: u64,
}

/// Runs one world: replicas report every so often, words are delayed, doubled, dropped and overtake each other.
fn simulate(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut replicas: Vec<Replica> = (0..random.random_range(1..8))
        .map(|_| Replica {
            revision: 4,
            applies_at: random.random_range(0..6_000),
            dies_at: if random.random_bool(0.3) { random.random_range(0..4_000) } else { u64::MAX },
            cut_at: if random.random_bool(0.2) { random.random_range(0..4_000) } else { u64::MAX },
            said: 0,
        })
        .collect();
    let drops = random.random_range(0.0..0.4);
    let mut roll = Roll::new(LEASE);
    // Arrival, replica, revision, instant of the report.
    let mut underway: Vec<(u64, usize, u64, u64)> = Vec::new();
    for now in (0..12_000).step_by(10) {
        for (number, replica) in replicas.iter_mut().enumerate() {
            if now >= replica.dies_at {
                continue;
            }
            if now >= replica.applies_at {
                replica.revision = 5;
            }
            if now >= replica.said + 200 {
                replica.said = now;
                for _ in 0..random.random_range(1..3) {
                    if now < replica.cut_at && !random.random_bool(drops) {
                        underway.push((now + random.random_range(0..500), number, replica.revision, now));
                    }
                }
            }
        }
        let (arrived, later): (Vec<_>, Vec<_>) = underway.into_iter().partition(|word| word.0 <= now);
        underway = later;
        for (_, number, revision, said) in arrived {
            roll.hear(id(number as u64), &number.to_string(), at(revision), ms(said));
        }
        check(&replicas, &roll, now, seed);
    }
    assert_eq!(
        roll.laggards(WANTED, ms(12_000)),
        Vec::<String>::new(),
        "seed {seed}: in the end nobody lags"
    );
}

fn check(replicas: &[Replica], roll: &Roll, now: u64, seed: u64) {
    let laggards = roll.laggards(WANTED, ms(now));
    for (number, replica) in replicas.iter().enumerate() {
        let named = laggards.contains(&number.to_string());
        let heard = roll.heard.get(&id(number as u64));
        let within = heard.is_some_and(|heard| ms(now).since(heard.at) <= LEASE);
        if within && replica.revision < 5 {
            assert!(named, "seed {seed} at {now}: {number} is alive, has not got it, and is not named");
        }
        if !within {
            assert!(!named, "seed {seed} at {now}: {number} has no lease and is waited for");
        }
        // With a word in five getting through, silence of the length of a lease means death, cut or very bad luck.
        let gone = now > replica.dies_at.min(replica.cut_at).saturating_add(3_000);
        assert!(!(gone && named), "seed {seed} at {now}: {number} has been gone for longer than its lease");
    }
}

#[test]
fn whatever_becomes_of_the_words_nobody_is_forgotten_and_nobody_waited_for_in_vain() {
    (0..500).for_each(simulate);
}
