//! What monitoring takes for true of what agents report.

use proptest::prelude::*;
use scaling::{Cause, Claim, Lease, Record, Refused, Standing, State, instance::Instance};
use std::time::Duration;

const NOW: Duration = Duration::from_secs(5);

#[test]
fn a_life_is_kept_move_by_move() {
    let (record, entry) = Record::register(None, NOW);
    assert_eq!((entry.from, entry.to, entry.epoch, entry.version), (None, State::Init, 1, 0));
    let (warming, first) = Instance::registered(record.epoch).warm(NOW);
    let (_, second) = warming.ready(NOW);
    let (record, entry) = record.accept(&first).unwrap();
    assert_eq!(entry.unwrap().from, Some(State::Init));
    // Told again, because the answer was lost: nothing new.
    assert_eq!(record.accept(&first), Ok((record, None)));
    let (record, entry) = record.accept(&second).unwrap();
    assert_eq!((record.state, entry.unwrap().cause), (State::Ready, Cause::WarmedUp));
}

#[test]
fn only_the_next_move_of_the_latest_registration_counts() {
    let (record, _) = Record::register(None, NOW);
    let claim = Claim { epoch: 1, version: 1, to: State::Warming, cause: Cause::EngineUp, at: NOW };
    assert_eq!(record.accept(&Claim { version: 2, ..claim }), Err(Refused::OutOfTurn { version: 0 }));
    assert_eq!(
        record.accept(&Claim { to: State::Ready, ..claim }),
        Err(Refused::Illegal { from: State::Init, to: State::Ready })
    );
    let (record, _) = record.accept(&claim).unwrap();
    // Another agent took it over.
    let (again, entry) = Record::register(Some(record), NOW);
    assert_eq!((again.epoch, again.version, entry.from), (2, 0, Some(State::Warming)));
    let late = Claim { version: 2, to: State::Ready, ..claim };
    assert_eq!(again.accept(&late), Err(Refused::Replaced { epoch: 2 }));
}

#[test]
fn what_is_silent_is_suspected_before_it_is_given_up() {
    let lease = Lease::default();
    let after = |seconds| lease.standing(State::Ready, Duration::from_secs(seconds));
    assert_eq!(
        [19, 20, 59, 60].map(after),
        [Standing::Alive, Standing::Suspect, Standing::Suspect, Standing::Lost]
    );
    assert_eq!(lease.standing(State::Terminated, Duration::MAX), Standing::Alive);
}

fn claims() -> impl Strategy<Value = Vec<Claim>> {
    let one = (1..3_u64, 0..8_u64, 0..5_usize, 0..12_usize);
    let claim = one.prop_map(|(epoch, version, to, cause)| Claim {
        epoch,
        version,
        to: State::ALL[to],
        cause: Cause::ALL[cause],
        at: NOW,
    });
    prop::collection::vec(claim, 0..60)
}

proptest! {
    /// Whatever is reported, in whatever order: the history is a chain of legal moves, numbered without gaps.
    #[test]
    fn a_history_is_always_a_life(claims in claims()) {
        let (mut record, first) = Record::register(None, NOW);
        let mut history = vec![first];
        for claim in claims {
            if let Ok((next, entry)) = record.accept(&claim) {
                record = next;
                history.extend(entry);
            }
        }
        for pair in history.windows(2) {
            prop_assert_eq!(pair[1].from, Some(pair[0].to));
            prop_assert!(pair[0].to.may_become(pair[1].to));
            prop_assert_eq!(pair[1].version, pair[0].version + 1);
        }
        prop_assert_eq!(history.last().map(|entry| entry.to), Some(record.state));
    }
}
