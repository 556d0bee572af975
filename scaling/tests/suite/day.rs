//! A day of load, replayed in virtual time against engines that take minutes to warm up.
//!
//! The curve is a working day as shared chat services see it: quiet until the morning, a steep rise at nine, a dip at
//! noon, a second and higher peak in the afternoon, a long evening. Every replica serves so many requests per second,
//! what exceeds them waits, and a wait is what the next request's first token takes.

use scaling::{Fleet, Inputs, Policy, Scaler};
use std::{collections::VecDeque, time::Duration};

/// Requests per second at each full hour, in twentieths of what one replica serves; the last is the first again.
const CURVE: [u32; 25] =
    [12, 8, 6, 5, 5, 7, 12, 26, 60, 124, 160, 172, 138, 150, 190, 212, 204, 176, 130, 96, 80, 62, 40, 22, 12];
const SCALE: f64 = 20.0;

/// What one replica serves, requests per second.
const SERVES: f64 = 10.0;
const WARM_UP: u64 = 240;
const LOOK: u64 = 10;

/// What happened in a day.
#[derive(Default)]
struct Day {
    /// Recommended replicas, look by look.
    replicas: Vec<u32>,
    /// Replicas that the load would have needed, look by look.
    needed: Vec<f64>,
    /// Looks at which the first token took longer than 2 s.
    late: usize,
    /// Most that were on their way at once.
    most_warming: u32,
}

/// Requests per second at a time of the day: straight lines between the hours, and a ripple of minutes.
fn offered(second: u64) -> f64 {
    let hour = (second / 3_600) as usize;
    let part = (second % 3_600) as f64 / 3_600.0;
    let (from, to) = (f64::from(CURVE[hour]), f64::from(CURVE[hour + 1]));
    let ripple = 1.0 + 0.06 * (second as f64 / 97.0).sin() + 0.04 * (second as f64 / 31.0).cos();
    (from + (to - from) * part) / SCALE * SERVES * ripple
}

/// Replays a day. `follows` says whether what is warming up is told of.
fn day(policy: &Policy, follows: bool) -> Day {
    let mut day = Day::default();
    let (mut ready, mut warming) = (2_u32, VecDeque::<u64>::new());
    let mut scaler = Scaler::new(policy, Fleet { ready, ..Fleet::default() });
    let mut waiting = 0.0_f64;
    for second in 0..24 * 3_600 {
        while warming.front().is_some_and(|done| *done <= second) {
            warming.pop_front();
            ready += 1;
        }
        let (offered, capacity) = (offered(second), f64::from(ready) * SERVES);
        waiting = (waiting + offered - capacity).max(0.0);
        if second % LOOK != 0 {
            continue;
        }
        let first_token = 0.15 + waiting / capacity;
        let now = Duration::from_secs(second);
        let inputs = Inputs {
            at: now,
            queue: waiting as u32,
            first_token: Some(Duration::from_secs_f64(first_token)),
            gpu: Some((offered / capacity).min(1.0)),
        };
        let told = if follows { warming.len() as u32 } else { 0 };
        let fleet = Fleet { ready: ready.max(1), warming: told, draining: 0 };
        let said = scaler.look(policy, inputs, fleet, now);
        let here = ready + warming.len() as u32;
        if said.replicas > here {
            warming.extend((here..said.replicas).map(|_| second + WARM_UP));
        } else {
            ready -= (here - said.replicas).min(ready - 1);
        }
        day.replicas.push(said.replicas);
        day.needed.push(offered / SERVES);
        day.late += usize::from(first_token > 2.0);
        day.most_warming = day.most_warming.max(warming.len() as u32);
    }
    day
}

/// How often the number turned round: from rising to falling, or back.
fn turns(replicas: &[u32]) -> usize {
    let steps: Vec<bool> =
        replicas.windows(2).filter(|pair| pair[0] != pair[1]).map(|pair| pair[0] < pair[1]).collect();
    steps.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

/// Thresholds as an operator would set them for these engines: the GPU limits of S4 leave a wide band between them.
fn policy() -> Policy {
    let mut policy = Policy { max: 20, ..Policy::default() };
    policy.into.gpu = Some(0.55);
    policy
}

#[test]
fn the_replicas_follow_the_day() {
    let day = day(&policy(), true);
    let at = |hour: usize| (day.replicas[hour * 360], day.needed[hour * 360]);
    for hour in [4, 11, 15, 16, 20, 23] {
        let (replicas, needed) = at(hour);
        assert!(f64::from(replicas) >= needed, "{hour} h: {replicas} for {needed:.1}");
        assert!(f64::from(replicas) <= needed * 2.2 + 2.0, "{hour} h: {replicas} for {needed:.1}");
    }
    assert!(day.replicas.iter().all(|replicas| (1..=20).contains(replicas)));
    assert!(day.late * 50 < day.replicas.len(), "late for {} of {} looks", day.late, day.replicas.len());
}

#[test]
fn the_number_does_not_swing() {
    let day = day(&policy(), true);
    // Morning up, noon down, afternoon up, evening down; a few more where the ripple crosses a limit.
    let turns = turns(&day.replicas);
    assert!((2..=8).contains(&turns), "{turns} turns: {:?}", changes(&day.replicas));
}

#[test]
fn the_limits_of_s4_hold_as_they_are() {
    let day = day(&Policy::default(), true);
    assert!(day.late * 50 < day.replicas.len(), "late for {} looks", day.late);
    assert!(turns(&day.replicas) <= 4, "{:?}", changes(&day.replicas));
    assert!(day.replicas.iter().all(|replicas| (1..=20).contains(replicas)));
}

#[test]
fn warming_replicas_are_counted() {
    let (told, untold) = (day(&policy(), true), day(&policy(), false));
    let peak = |day: &Day| day.replicas.iter().copied().max().unwrap();
    assert!(told.most_warming <= 6, "{} at once", told.most_warming);
    assert!(peak(&told) <= peak(&untold), "{} and {}", peak(&told), peak(&untold));
}

/// Each change as (look, replicas), for messages.
fn changes(replicas: &[u32]) -> Vec<(usize, u32)> {
    let indexed = replicas.iter().copied().enumerate().collect::<Vec<_>>();
    indexed.windows(2).filter(|pair| pair[0].1 != pair[1].1).map(|pair| pair[1]).collect()
}
