//! Recommendations, look by look.

use scaling::{Fleet, Inputs, Load, Pace, Policy, Reason, Scaler, Signal, Stale, State, Thresholds};
use std::time::Duration;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn inputs(queue: u32, millis: u64, gpu: f64) -> Inputs {
    let first_token = Some(Duration::from_millis(millis));
    Inputs { at: seconds(0), queue, first_token, gpu: Some(gpu) }
}

const CALM: (u32, u64, f64) = (0, 100, 0.1);

fn ready(ready: u32) -> Fleet {
    Fleet { ready, ..Fleet::default() }
}

/// The recommendations for one state of things, looked at every ten seconds.
fn watch(scaler: &mut Scaler, seen: Inputs, fleet: Fleet, from: u64, looks: u64) -> Vec<(u32, Reason)> {
    let policy = Policy::default();
    let look = |look| {
        let said = scaler.look(&policy, seen, fleet, seconds(from + 10 * look));
        (said.replicas, said.reason)
    };
    (0..looks).map(look).collect()
}

#[test]
fn each_signal_alone_asks_for_more_after_a_minute() {
    let cases = [
        (inputs(101, 100, 0.5), Signal::Queue),
        (inputs(50, 2_001, 0.5), Signal::FirstToken),
        (inputs(50, 100, 0.81), Signal::Gpu),
    ];
    for (seen, signal) in cases {
        let mut scaler = Scaler::new(&Policy::default(), ready(4));
        let said = watch(&mut scaler, seen, ready(4), 1_000, 7);
        assert_eq!(said[..6], [(4, Reason::Rising(signal)); 6]);
        assert!(said[6].0 > 4 && said[6].1 == Reason::TooFew(signal), "{said:?}");
    }
}

#[test]
fn a_moment_of_calm_begins_the_minute_anew() {
    let mut scaler = Scaler::new(&Policy::default(), ready(4));
    let high = inputs(500, 100, 0.5);
    watch(&mut scaler, high, ready(4), 0, 6);
    watch(&mut scaler, inputs(50, 100, 0.5), ready(4), 60, 1);
    let said = watch(&mut scaler, high, ready(4), 70, 7);
    assert_eq!(said[5], (4, Reason::Rising(Signal::Queue)));
    assert_eq!(said[6].1, Reason::TooFew(Signal::Queue));
}

#[test]
fn what_warms_up_counts_and_is_not_asked_for_twice() {
    let mut scaler = Scaler::new(&Policy::default(), ready(4));
    let high = inputs(140, 100, 0.5);
    assert_eq!(watch(&mut scaler, high, ready(4), 0, 7)[6], (6, Reason::TooFew(Signal::Queue)));
    let warming = Fleet { ready: 4, warming: 2, draining: 0 };
    for (replicas, reason) in &watch(&mut scaler, high, warming, 70, 30)[7..] {
        assert_eq!((*replicas, *reason), (6, Reason::WarmingUp(Signal::Queue)));
    }
    // Six that are ready and still a queue: now it is too few.
    assert_eq!(watch(&mut scaler, high, ready(6), 400, 1)[0].1, Reason::TooFew(Signal::Queue));
}

#[test]
fn steps_and_limits_hold() {
    let mut scaler = Scaler::new(&Policy::default(), ready(4));
    let flood = inputs(100_000, 60_000, 1.0);
    assert_eq!(watch(&mut scaler, flood, ready(4), 0, 7)[6].0, 6, "half as many at once, and at least two");
    let mut scaler = Scaler::new(&Policy::default(), ready(20));
    assert_eq!(watch(&mut scaler, flood, ready(20), 0, 7)[6], (20, Reason::AtMost(Signal::Queue)));
    let mut scaler = Scaler::new(&Policy::default(), ready(1));
    let (queue, millis, gpu) = CALM;
    assert_eq!(watch(&mut scaler, inputs(queue, millis, gpu), ready(1), 0, 90)[89], (1, Reason::AtLeast));
}

#[test]
fn fewer_only_when_everything_is_low_for_five_minutes() {
    let (queue, millis, gpu) = CALM;
    let calm = inputs(queue, millis, gpu);
    let mut scaler = Scaler::new(&Policy::default(), ready(4));
    let said = watch(&mut scaler, calm, ready(4), 0, 31);
    assert_eq!(said[29], (4, Reason::Falling));
    assert_eq!(said[30], (3, Reason::TooMany));
    // Those that were to go are still there: first things first.
    assert_eq!(watch(&mut scaler, calm, ready(4), 310, 40)[39], (3, Reason::Following));
    for not_low in [inputs(10, 100, 0.1), inputs(0, 1_000, 0.1), inputs(0, 100, 0.3)] {
        let mut scaler = Scaler::new(&Policy::default(), ready(4));
        assert_eq!(watch(&mut scaler, not_low, ready(4), 0, 40)[39], (4, Reason::Enough));
    }
}

#[test]
fn nobody_asking_is_calm_and_nobody_telling_is_not() {
    let mut scaler = Scaler::new(&Policy::default(), ready(4));
    let silent = Inputs { first_token: None, ..inputs(0, 0, 0.0) };
    assert_eq!(watch(&mut scaler, silent, ready(4), 0, 31)[30], (3, Reason::TooMany));
    let mut scaler = Scaler::new(&Policy::default(), ready(4));
    let unknown = Inputs { gpu: None, ..inputs(0, 100, 0.0) };
    assert_eq!(watch(&mut scaler, unknown, ready(4), 0, 40)[39], (4, Reason::Missing(Signal::Gpu)));
}

#[test]
fn fewer_must_be_able_to_do_the_work() {
    let policy = Policy {
        out: Thresholds { gpu: Some(0.5), ..Policy::default().out },
        into: Thresholds { gpu: Some(0.45), ..Policy::default().into },
        in_pace: Pace { step: 3, ..Policy::default().in_pace },
        ..Policy::default()
    };
    let mut scaler = Scaler::new(&policy, ready(5));
    let mut said = None;
    for look in 0..=30 {
        said = Some(scaler.look(&policy, inputs(0, 100, 0.3), ready(5), seconds(10 * look)));
    }
    // Three fewer would be at 75 %, one fewer is at 37.5 %, two fewer exactly at the limit.
    assert_eq!(said.map(|said| (said.replicas, said.reason)), Some((4, Reason::TooMany)));
}

#[test]
fn a_policy_that_changes_moves_the_number_into_its_limits() {
    let mut scaler = Scaler::new(&Policy::default(), ready(4));
    let policy = Policy { min: 6, ..Policy::default() };
    let said = scaler.look(&policy, inputs(0, 100, 0.1), ready(4), seconds(0));
    assert_eq!((said.replicas, said.reason), (6, Reason::Limits));
}

#[test]
fn stale_words_give_no_answer_and_end_what_had_lasted() {
    let old = Load { at: seconds(10), queue: 900, first_token: None };
    let gathered = Inputs::gather(&[old], &[], seconds(71), seconds(60));
    assert_eq!(gathered, Err(Stale { since: Some(seconds(10)) }));
    assert_eq!(Inputs::gather(&[], &[], seconds(71), seconds(60)), Err(Stale { since: None }));
    let mut scaler = Scaler::new(&Policy::default(), ready(4));
    watch(&mut scaler, inputs(500, 100, 0.5), ready(4), 0, 6);
    scaler.blind();
    assert_eq!(
        watch(&mut scaler, inputs(500, 100, 0.5), ready(4), 60, 1)[0].1,
        Reason::Rising(Signal::Queue)
    );
}

#[test]
fn what_several_say_is_brought_together() {
    let load =
        |at, queue, millis| Load { at: seconds(at), queue, first_token: Some(Duration::from_millis(millis)) };
    let loads = [load(100, 30, 900), load(95, 12, 1_400), load(10, 999, 9_000)];
    let gpus = [(seconds(99), 0.2), (seconds(98), 0.6), (seconds(1), 1.0)];
    let seen = Inputs::gather(&loads, &gpus, seconds(100), seconds(60)).unwrap();
    assert_eq!((seen.queue, seen.at), (42, seconds(95)));
    assert_eq!(seen.first_token, Some(Duration::from_millis(1_400)));
    assert!((seen.gpu.unwrap() - 0.4).abs() < 1e-9);
}

#[test]
fn instances_are_counted_by_what_they_can_do() {
    let fleet = Fleet::count(State::ALL);
    assert_eq!((fleet.warming, fleet.ready, fleet.draining, fleet.capacity()), (2, 1, 1, 3));
}

#[test]
fn policies_that_contradict_themselves_are_named() {
    let good = Policy::default();
    assert_eq!(good.check(), Ok(()));
    let cases: [(&str, Policy); 7] = [
        ("min_replicas", Policy { min: 0, ..good.clone() }),
        ("max_replicas", Policy { min: 5, max: 4, ..good.clone() }),
        ("gpu_usage", Policy { out: Thresholds { gpu: Some(80.0), ..good.out }, ..good.clone() }),
        ("scale_in", Policy { into: good.out, ..good.clone() }),
        ("scale_in", Policy { into: Thresholds { gpu: None, ..good.into }, ..good.clone() }),
        ("scale_out_pace", Policy { out_pace: Pace { step: 0, ..good.out_pace }, ..good.clone() }),
        ("fresh_within", Policy { fresh_within: seconds(1), ..good }),
    ];
    for (field, policy) in cases {
        assert_eq!(policy.check().unwrap_err().field, field);
    }
}
