//! The sliding window against a list of everything that was let in.

use crate::world::{ask, limiter, requests};
use limits::window::{SLOTS, Window};
use proptest::prelude::*;
use std::time::Duration;

/// Seconds of the windows here, and the length of a slot in microseconds.
const SECONDS: u64 = 10;
const WINDOW: u64 = SECONDS * 1_000_000;
const SLOT: u64 = WINDOW / SLOTS as u64;

/// Steps of time, most of them short: bursts, pauses of about a slot, of about a window and of many.
fn steps() -> impl Strategy<Value = Vec<u64>> {
    let step = prop_oneof![0..1_000_u64, 0..SLOT * 2, WINDOW - SLOT..WINDOW + SLOT * 2, 0..WINDOW * 5];
    prop::collection::vec(step, 1..400)
}

proptest! {
    #[test]
    fn never_more_than_the_limit_in_any_window_and_no_refusal_that_a_slightly_longer_window_would_not_make(
        steps in steps(), most in 1..30_u64,
    ) {
        let mut limiter = limiter(requests(most, SECONDS));
        let (mut now, mut allowed) = (0, Vec::<u64>::new());
        for step in steps {
            now += step;
            let since = |length: u64| allowed.iter().filter(|at| now - **at < length).count() as u64;
            let (exact, longer) = (since(WINDOW), since(WINDOW + SLOT));
            match ask(&mut limiter, 1, now) {
                Ok(admission) => {
                    prop_assert!(exact < most, "{exact} were there already");
                    let left = admission.standing.requests.unwrap().remaining;
                    prop_assert!(((most - 1).saturating_sub(longer)..=most - 1 - exact).contains(&left));
                    allowed.push(now);
                }
                Err(refusal) => {
                    prop_assert!(longer >= most, "only {longer} were there");
                    // Coming back when told is coming back in time, and a slot earlier it is not.
                    let wait = u64::try_from(refusal.retry_after.as_micros()).unwrap();
                    prop_assert!(wait > 0 && wait <= WINDOW + SLOT);
                    let then = now + wait;
                    let left = allowed.iter().filter(|at| then - **at < WINDOW).count() as u64;
                    prop_assert!(left < most);
                    let before = then.saturating_sub(SLOT + 1);
                    let left = allowed.iter().filter(|at| before.saturating_sub(**at) <= WINDOW).count() as u64;
                    prop_assert!(before < now || left >= most);
                }
            }
        }
    }

    #[test]
    fn whoever_comes_back_when_told_is_let_in(steps in steps(), most in 1..10_u64) {
        let mut limiter = limiter(requests(most, SECONDS));
        let mut now = 0;
        for step in steps {
            now += step;
            if let Err(refusal) = ask(&mut limiter, 1, now) {
                now += u64::try_from(refusal.retry_after.as_micros()).unwrap();
                prop_assert!(ask(&mut limiter, 1, now).is_ok());
            }
        }
    }

    #[test]
    fn a_clock_that_jumps_back_forgets_nothing_early_and_nothing_for_ever(
        steps in prop::collection::vec((0..SLOT * 3, 0..WINDOW * 3, any::<bool>()), 1..300), most in 1..20_u64,
    ) {
        // The time that really passes, and what the clock says of it.
        let mut limiter = limiter(requests(most, SECONDS));
        let (mut real, mut clock, mut allowed) = (0_u64, WINDOW * 1_000, Vec::<u64>::new());
        for (step, jump, jumps) in steps {
            real += step;
            clock += step;
            if jumps {
                clock = clock.saturating_sub(jump);
            }
            if ask(&mut limiter, 1, clock).is_ok() {
                let within = allowed.iter().filter(|at| real - **at < WINDOW).count() as u64;
                prop_assert!(within < most, "{within} were there already");
                allowed.push(real);
            }
        }
        // Whatever it did, a window of time that goes on as it should empties it.
        prop_assert!(ask(&mut limiter, 1, clock + WINDOW + SLOT).is_ok());
    }

    #[test]
    fn a_clock_that_jumps_ahead_is_as_if_the_time_had_passed(jump in WINDOW + SLOT..WINDOW * 1_000_000) {
        let mut limiter = limiter(requests(3, SECONDS));
        for start in [7, 7 + jump] {
            for _ in 0..3 {
                prop_assert!(ask(&mut limiter, 1, start).is_ok());
            }
            prop_assert!(ask(&mut limiter, 1, start).is_err());
        }
    }

    #[test]
    fn what_is_told_of_a_window_makes_the_same_one_elsewhere_or_one_that_forgets_a_little_later(
        steps in steps(), delay in 0..WINDOW,
    ) {
        let mut window = Window::new(Duration::from_secs(SECONDS));
        let (mut now, mut came) = (0, Vec::new());
        for step in steps {
            now += step;
            window.advance(Duration::from_micros(now));
            window.add(1);
            came.push(now);
        }
        // Another process, whose clock says something else.
        let (told, shift) = (window.ages(Duration::from_micros(now)), WINDOW * 77 + 12_345);
        let mut other = Window::new(Duration::from_secs(SECONDS));
        let then = Duration::from_micros(now + shift + delay);
        other.advance(then);
        for (age, many) in told {
            other.add_past(age + Duration::from_micros(delay), then, u64::from(many));
        }
        let sums = |window: &mut Window, at: u64| {
            window.advance(Duration::from_micros(at));
            window.sum()
        };
        for later in (0..WINDOW * 2).step_by(SLOT as usize / 3) {
            let exact = came.iter().filter(|at| now + delay + later - **at < WINDOW).count() as u64;
            let there = sums(&mut other.clone(), now + shift + delay + later);
            let before = sums(&mut window.clone(), (now + delay + later).saturating_sub(SLOT * 2).max(now));
            prop_assert!(exact <= there && there <= before, "{exact} {there} {before}");
        }
    }
}

#[test]
fn taking_back_takes_what_came_last() {
    let mut window = Window::new(Duration::from_secs(SECONDS));
    window.advance(Duration::from_secs(5));
    window.add(3);
    window.advance(Duration::from_secs(9));
    window.add(2);
    window.take_back(3);
    assert_eq!(window.sum(), 2);
    assert_eq!(window.until_empty(Duration::from_secs(9)), Duration::from_millis(6_500));
    window.take_back(9);
    assert_eq!(window.sum(), 0);
}
