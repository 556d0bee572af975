//! What a process has spent, user and system time of all its threads, from `/proc`.
//!
//! On a noisy machine this is the steady figure: it does not grow when somebody else takes the core.

use anyhow::Context;
use std::{fs, time::Duration};

/// Length of a tick in `/proc/PID/stat`: Linux has shown 100 of them a second on every platform we run on.
const TICK: Duration = Duration::from_millis(10);

/// The processor time that these processes have spent so far.
///
/// # Errors
/// When one of them is not running.
pub fn spent(pids: &[u32]) -> anyhow::Result<Duration> {
    let each = pids.iter().map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        let stat =
            stat.with_context(|| format!("no process {pid}; give the pid of the process under test"))?;
        ticks(&stat).with_context(|| format!("/proc/{pid}/stat has another form than Linux gives it"))
    });
    let ticks: u32 = each.sum::<anyhow::Result<u32>>()?;
    Ok(TICK * ticks)
}

/// Fields 14 and 15. The name in parentheses comes second and may itself contain spaces and parentheses.
fn ticks(stat: &str) -> Option<u32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_added_whatever_the_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 105 0 0 0 12 30 7 8 20 0 3 0 100 1 1";
        assert_eq!(ticks(stat), Some(42));
    }

    #[test]
    fn a_process_that_is_gone_is_named() {
        let error = spent(&[u32::MAX]).unwrap_err();
        assert!(error.to_string().contains("4294967295"), "{error}");
    }

    #[test]
    fn this_process_has_spent_something_or_nothing() {
        assert!(spent(&[std::process::id()]).is_ok());
    }
}
