//! Every state against every event, and the two orders of late news that matter.

use super::*;
use Outcome::{Abandoned, Answered, Failed};

const PAUSE: Duration = Duration::from_secs(30);

struct Told {
    breaker: Breaker,
    start: Instant,
    now: Instant,
}

impl Told {
    fn new() -> Self {
        let start = Instant::now();
        Self { breaker: Breaker::new(Rules::default()), start, now: start }
    }

    fn at(&mut self, seconds: f64) -> &mut Self {
        self.now = self.start + Duration::from_secs_f64(seconds);
        self
    }

    fn admit(&mut self) -> Result<Pass, Duration> {
        self.breaker.admit(self.now)
    }

    fn settle(&mut self, pass: Pass, outcome: Outcome) -> Standing {
        self.breaker.settle(pass, outcome, self.now);
        self.breaker.standing()
    }

    /// One query after the other.
    fn queries(&mut self, outcomes: &[Outcome]) -> Standing {
        for outcome in outcomes {
            let pass = self.admit().unwrap();
            self.settle(pass, *outcome);
        }
        self.breaker.standing()
    }

    fn opened() -> Self {
        let mut told = Self::new();
        assert_eq!(told.queries(&[Failed; 5]), Standing::Open);
        told
    }
}

#[test]
fn the_fifth_failure_in_a_row_opens_it() {
    let mut told = Told::new();
    assert_eq!(told.queries(&[Failed; 4]), Standing::Closed);
    assert_eq!(told.queries(&[Failed]), Standing::Open);
}

#[test]
fn an_answer_forgets_failures_and_what_was_abandoned_says_nothing() {
    let mut told = Told::new();
    told.queries(&[Failed, Failed, Failed, Failed, Answered]);
    assert_eq!(told.queries(&[Failed; 4]), Standing::Closed);
    assert_eq!(told.queries(&[Abandoned; 10]), Standing::Closed);
    assert_eq!(told.queries(&[Failed]), Standing::Open);
}

#[test]
fn while_open_everything_is_refused_with_the_time_that_is_left() {
    let mut told = Told::opened();
    assert_eq!(told.at(0.0).admit(), Err(PAUSE));
    assert_eq!(told.at(12.5).admit(), Err(Duration::from_secs_f64(17.5)));
    assert_eq!(told.at(29.999).admit().unwrap_err(), Duration::from_millis(1));
    assert_eq!(told.breaker.standing(), Standing::Open);
}

#[test]
fn after_the_pause_one_query_probes_and_the_others_are_refused() {
    let mut told = Told::opened();
    let probe = told.at(30.0).admit().unwrap();
    assert_eq!(told.breaker.standing(), Standing::HalfOpen);
    assert_eq!(told.admit(), Err(Duration::ZERO));
    assert_eq!(told.at(31.0).settle(probe, Answered), Standing::Closed);
    assert_eq!(told.queries(&[Answered, Failed, Failed, Failed, Failed]), Standing::Closed);
}

#[test]
fn a_failed_probe_opens_it_for_another_pause_from_then_on() {
    let mut told = Told::opened();
    let probe = told.at(40.0).admit().unwrap();
    assert_eq!(told.at(43.0).settle(probe, Failed), Standing::Open);
    assert_eq!(told.at(43.0).admit(), Err(PAUSE));
    assert_eq!(told.at(72.0).admit(), Err(Duration::from_secs(1)));
    assert!(told.at(73.0).admit().is_ok());
}

#[test]
fn an_abandoned_probe_leaves_its_place_to_the_next() {
    let mut told = Told::opened();
    let probe = told.at(30.0).admit().unwrap();
    assert_eq!(told.settle(probe, Abandoned), Standing::HalfOpen);
    let probe = told.admit().unwrap();
    assert_eq!(told.admit(), Err(Duration::ZERO));
    assert_eq!(told.settle(probe, Answered), Standing::Closed);
}

#[test]
fn late_news_of_queries_from_before_a_change_is_ignored() {
    let mut told = Told::new();
    let (early, late) = (told.admit().unwrap(), told.admit().unwrap());
    told.queries(&[Failed; 5]);
    assert_eq!(told.settle(early, Answered), Standing::Open);
    let probe = told.at(30.0).admit().unwrap();
    assert_eq!(told.settle(late, Failed), Standing::HalfOpen);
    assert_eq!(told.settle(early, Abandoned), Standing::HalfOpen);
    assert_eq!(told.admit(), Err(Duration::ZERO), "the probe's place is still taken");
    assert_eq!(told.settle(probe, Answered), Standing::Closed);
    // The probe's own pass is of the past now.
    assert_eq!(told.settle(probe, Failed), Standing::Closed);
    assert_eq!(told.queries(&[Failed; 4]), Standing::Closed);
}

#[test]
fn any_answer_shows_that_the_database_is_there() {
    let mut told = Told::new();
    let start = told.start;
    assert!(!told.breaker.answered_since(start));
    let pass = told.at(1.0).admit().unwrap();
    told.settle(pass, Failed);
    assert!(!told.breaker.answered_since(start));
    told.at(2.0).settle(pass, Answered);
    assert!(told.breaker.answered_since(start) && told.breaker.answered_since(told.now));
    assert!(!told.breaker.answered_since(told.now + Duration::from_millis(1)));
    // One from before the breaker opened counts here too.
    let mut told = Told::new();
    let early = told.admit().unwrap();
    told.queries(&[Failed; 5]);
    told.at(3.0).settle(early, Answered);
    assert!(told.breaker.answered_since(told.now));
}

#[test]
fn an_abandoned_probe_told_twice_takes_no_place_from_the_next() {
    let mut told = Told::opened();
    let first = told.at(30.0).admit().unwrap();
    told.settle(first, Abandoned);
    let second = told.admit().unwrap();
    assert_ne!(first, second);
    assert_eq!(told.settle(first, Failed), Standing::HalfOpen);
    assert_eq!(told.settle(second, Answered), Standing::Closed);
}

#[test]
fn what_was_not_let_through_is_counted_until_it_is_asked_for() {
    let mut told = Told::opened();
    assert!((0..7).all(|_| told.admit().is_err()));
    let probe = told.at(30.0).admit().unwrap();
    assert!(told.admit().is_err(), "one probe at a time");
    assert_eq!(told.settle(probe, Failed), Standing::Open);
    assert!(told.admit().is_err());
    let probe = told.at(61.0).admit().unwrap();
    assert_eq!(told.settle(probe, Answered), Standing::Closed);
    assert_eq!((told.breaker.take_refused(), told.breaker.take_refused()), (9, 0));
}
