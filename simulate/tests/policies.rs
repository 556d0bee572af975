//! What the comparison must show on a workload that is in no file: bursts, long and short prompts, twice what fits.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use simulate::{
    Setting, bound, capacity,
    policy::Name,
    workload::{Recorded, Users},
};
use simulator::Profile;
use std::time::Duration;

/// Ten minutes of requests in bursts, prompts from 50 to 6,000 tokens, answers from 1 to 400.
fn trace() -> Vec<Recorded> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut chance = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut at = 0;
    let rows = (0..6_000).map(|n| {
        at += chance(if n % 400 < 100 { 40 } else { 160 });
        let long = chance(10) == 0;
        Recorded {
            at: Duration::from_millis(at),
            prompt: u32::try_from(if long { 2_000 + chance(4_000) } else { 50 + chance(1_500) }).unwrap(),
            output: u32::try_from(1 + chance(if long { 50 } else { 400 })).unwrap(),
        }
    });
    rows.collect()
}

fn setting(users: Users) -> Setting {
    Setting {
        engines: 1,
        counted: Duration::from_secs(120),
        warm_up: Duration::from_secs(60),
        users,
        seed: 3,
        ..Setting::new(Profile::reference())
    }
}

#[test]
fn the_gateway_serves_more_in_time_than_a_bounded_queue_and_fairly_when_it_is_to() {
    let (setting, trace) = (setting(Users::Noisy), trace());
    // Half, all and twice of what one engine can do, more or less.
    for rate in [5.0, 10.0, 20.0] {
        let run = |policy| setting.run(&trace, rate, policy);
        let (bounded, unfair, fair) =
            (run(Name::FifoBounded), run(Name::TollgateUnfair), run(Name::Tollgate));
        assert!(unfair.goodput_rps >= bounded.goodput_rps, "{rate}: {bounded:?} {unfair:?}");
        assert!(fair.goodput_rps >= bounded.goodput_rps, "{rate}: {bounded:?} {fair:?}");
        if rate > 15.0 {
            assert!(unfair.goodput_rps >= 1.5 * bounded.goodput_rps, "{bounded:?} {unfair:?}");
            assert!(fair.jain > 0.9 && bounded.jain < 0.6, "{bounded:?} {fair:?}");
            assert!(fair.late < 0.03 && unfair.late < 0.03, "{fair:?} {unfair:?}");
        }
    }
}

#[test]
fn load_one_is_what_fifo_just_completes_and_the_bound_lies_above() {
    let (setting, trace) = (setting(Users::Zipf), trace());
    let one = capacity::find(&setting, &trace);
    assert!((2.0..40.0).contains(&one.requests), "{one:?}");
    let half = setting.run(&trace, one.requests / 2.0, Name::Fifo);
    assert!(half.completed_tps > 0.97 * one.tokens / 2.0 * 0.8, "{half:?} {one:?}");
    let best = bound::bound(&setting, &setting.workload(&trace, one.requests * 3.0));
    assert!(best.requests > one.requests, "{best:?} {one:?}");
}

#[test]
fn twice_the_engines_do_twice_as_much() {
    let (setting, trace) = (setting(Users::Zipf), trace());
    let of = |engines| capacity::find(&Setting { engines, ..setting.clone() }, &trace).requests;
    let (one, two) = (of(1), of(2));
    assert!((1.8..2.3).contains(&(two / one)), "{one} {two}");
}

#[test]
fn a_run_is_the_same_for_a_seed_and_another_for_another() {
    let (setting, trace) = (setting(Users::Zipf), trace());
    let run = |seed| Setting { seed, ..setting.clone() }.run(&trace, 8.0, Name::Tollgate);
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn every_policy_accounts_for_all_that_was_offered() {
    let (setting, trace) = (setting(Users::Zipf), trace());
    for policy in Name::ALL {
        let report = setting.run(&trace, 9.0, policy);
        let refused: f64 = report.refused.values().sum();
        assert!(report.attainment + report.late + refused <= 1.0 + 1e-9, "{policy:?}: {report:?}");
        assert!(
            (0.0..=1.0).contains(&report.jain) && report.utilisation.unwrap() <= 1.0,
            "{policy:?}: {report:?}"
        );
        assert_eq!(Name::from_word(policy.as_str()), Some(policy));
    }
}
