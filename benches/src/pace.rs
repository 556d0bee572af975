//! When requests are meant to be sent.
//!
//! Open: at a constant rate, whatever the target does; the clock of a request starts when it was meant to go, also if
//! every connection was still busy then, so a target that stalls cannot hide the requests it held up. Closed: as soon
//! as a connection is free, which finds the most a target can do and says nothing about latency.

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How requests follow one another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// So many a second.
    Open {
        /// Requests a second.
        rate: f64,
    },
    /// One after the other on every connection.
    Closed,
}

/// Time past the end in which requests that were held up are still sent; the rest is counted as not sent.
const OVERTIME: Duration = Duration::from_secs(5);

/// Hands out the moments of one run to all its connections.
#[derive(Debug)]
pub struct Schedule {
    pace: Pace,
    start: Instant,
    length: Duration,
    next: AtomicU64,
}

/// What a connection is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Send a request, whose clock started at `due`.
    Send {
        /// How many went before.
        number: u64,
        /// When it is meant to go.
        due: Instant,
    },
    /// It is too late for this one.
    Late,
    /// There is nothing left to send.
    Over,
}

impl Schedule {
    /// A run of this length.
    #[must_use]
    pub fn new(pace: Pace, start: Instant, length: Duration) -> Self {
        Self { pace, start, length, next: AtomicU64::new(0) }
    }

    /// The next request for the connection that asks. It may lie ahead; see [`wait_until`].
    pub fn turn(&self, now: Instant) -> Turn {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        match self.pace {
            Pace::Closed if now >= self.start + self.length => Turn::Over,
            Pace::Closed => Turn::Send { number, due: now },
            Pace::Open { rate } => {
                #[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^52 requests")]
                let after = Duration::from_secs_f64(number as f64 / rate);
                if after >= self.length {
                    Turn::Over
                } else if now > self.start + self.length + OVERTIME {
                    Turn::Late
                } else {
                    Turn::Send { number, due: self.start + after }
                }
            }
        }
    }
}

/// Sleeps until then, if it lies ahead.
pub fn wait_until(due: Instant) {
    let ahead = due.saturating_duration_since(Instant::now());
    if !ahead.is_zero() {
        thread::sleep(ahead);
    }
}

/// Asks the kernel to end sleeps on time. By default it may add 50 µs, which is more than a gateway adds to a request.
/// Threads started afterwards inherit it. Where it cannot be had, every target is measured with the same delay.
pub fn sharpen_timers() {
    let _ = fs::write("/proc/self/timerslack_ns", "1");
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn due(turn: Turn, start: Instant) -> Option<Duration> {
        match turn {
            Turn::Send { due, .. } => Some(due - start),
            _ => None,
        }
    }

    #[test]
    fn an_open_run_keeps_its_rate_and_ends() {
        let start = Instant::now();
        let schedule = Schedule::new(Pace::Open { rate: 4.0 }, start, SECOND);
        let all: Vec<_> = (0..5).map(|_| due(schedule.turn(start), start)).collect();
        let quarters = [0, 250, 500, 750].map(|ms| Some(Duration::from_millis(ms)));
        assert_eq!(all, [&quarters[..], &[None]].concat());
        assert_eq!(schedule.turn(start), Turn::Over);
    }

    #[test]
    fn a_late_connection_gets_the_moment_that_was_meant() {
        let start = Instant::now();
        let schedule = Schedule::new(Pace::Open { rate: 10.0 }, start, SECOND);
        assert_eq!(due(schedule.turn(start + SECOND * 3), start), Some(Duration::ZERO));
        assert_eq!(schedule.turn(start + SECOND * 7), Turn::Late);
    }

    #[test]
    fn a_closed_run_goes_on_until_its_time_is_over() {
        let start = Instant::now();
        let schedule = Schedule::new(Pace::Closed, start, SECOND);
        assert_eq!(due(schedule.turn(start + SECOND / 2), start), Some(SECOND / 2));
        assert_eq!(schedule.turn(start + SECOND), Turn::Over);
    }
}
