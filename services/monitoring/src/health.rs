//! Whether the database answers: asked again and again, judged with hysteresis so that one slow answer does not
//! take a replica out of service, and one quick one does not bring a sick one back.

use crate::store;
use shared::{
    db::Db,
    health::{Condition, Reporter},
    server::Tasks,
};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Time between two questions.
const EVERY: Duration = Duration::from_millis(1_500);
/// An answer that takes longer does not count, and from here on the database is degraded.
const PATIENCE: Duration = Duration::from_secs(1);
/// So many unanswered questions in a row mean that it is down.
const DOWN_AFTER: u32 = 3;
/// So many answers in a row mean that it is up again.
const UP_AFTER: u32 = 2;

/// Asks the database from now on until the process ends.
pub(crate) fn watch(db: Db, reporter: Reporter, tasks: &Tasks) {
    let stop = tasks.stopping();
    tasks.spawn(async move {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut state = State::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let answered = tokio::select! {
                () = stop.cancelled() => return,
                answered = ask(&db) => answered,
            };
            reporter.set(state.after(answered));
        }
    });
}

async fn ask(db: &Db) -> Result<(), &'static str> {
    match timeout(PATIENCE, store::timed(db, "ping", db.ping())).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the database refused a ping");
            Err("the database does not answer; check that it runs and can be reached")
        }
        Err(_) => Err("the database took longer than 1 s to answer"),
    }
}

/// The last answers, as far as they matter.
#[derive(Debug, Default)]
struct State {
    answers: u32,
    failures: u32,
    down: bool,
}

impl State {
    fn after(&mut self, answer: Result<(), &'static str>) -> Condition {
        match answer {
            Ok(()) => (self.answers, self.failures) = (self.answers.saturating_add(1), 0),
            Err(_) => (self.answers, self.failures) = (0, self.failures.saturating_add(1)),
        }
        self.down = if self.down { self.answers < UP_AFTER } else { self.failures >= DOWN_AFTER };
        match answer {
            Ok(()) if self.down => Condition::Down("the database has only begun to answer again".into()),
            Ok(()) => Condition::Up,
            Err(problem) if self.down => Condition::Down(problem.into()),
            Err(problem) => Condition::Degraded(problem.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_take_it_down_and_two_answers_bring_it_back() {
        let mut state = State::default();
        let told: Vec<&str> = "+-+--+---+-++-"
            .chars()
            .map(|answer| match state.after(if answer == '+' { Ok(()) } else { Err("slow") }) {
                Condition::Up => "up",
                Condition::Degraded(_) => "degraded",
                Condition::Down(_) => "down",
                Condition::Starting => "starting",
            })
            .collect();
        let expected = [
            "up", "degraded", "up", "degraded", "degraded", "up", "degraded", "degraded", "down", "down",
            "down", "down", "up", "degraded",
        ];
        assert_eq!(told, expected);
    }
}
