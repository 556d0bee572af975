//! When an instance has nothing to do.

use scaling::{Idleness, Seen};
use std::time::Duration;

fn idle(seen: &[Seen]) -> Vec<u64> {
    let mut idleness = Idleness::default();
    let looks = (0..).zip(seen);
    looks.map(|(at, seen)| idleness.saw(*seen, Duration::from_secs(at)).as_secs()).collect()
}

#[test]
fn it_is_idle_from_the_first_look_at_which_nothing_was_done() {
    let quiet = Seen { requests: Some(0.0), finished: Some(4.0), gpu: Some(0.01) };
    assert_eq!(idle(&[quiet; 4]), [0, 1, 2, 3]);
    let busy = Seen { requests: Some(2.0), ..quiet };
    assert_eq!(idle(&[quiet, quiet, busy, quiet, quiet]), [0, 1, 0, 0, 1]);
}

#[test]
fn what_came_and_went_between_two_looks_was_work() {
    let quiet = |finished| Seen { requests: Some(0.0), finished: Some(finished), gpu: None };
    assert_eq!(idle(&[quiet(1.0), quiet(1.0), quiet(2.0), quiet(2.0)]), [0, 1, 0, 1]);
}

#[test]
fn who_cannot_be_asked_is_not_idle() {
    let quiet = Seen { requests: Some(0.0), finished: Some(4.0), gpu: Some(0.01) };
    let silent = Seen { requests: None, finished: None, gpu: Some(0.0) };
    assert_eq!(idle(&[quiet, quiet, silent, quiet, quiet]), [0, 1, 0, 0, 1]);
    let computing = Seen { gpu: Some(0.9), ..quiet };
    assert_eq!(idle(&[quiet, computing, computing]), [0, 0, 0]);
    let uncounted = Seen { finished: None, ..quiet };
    assert_eq!(idle(&[uncounted; 3]), [0, 0, 0]);
}
