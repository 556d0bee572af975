//! Which lines this process writes, and how that is changed while it runs.

use super::TRACED;
use crate::{server::Tasks, time};
use policy::Time;
use std::{
    sync::{LazyLock, Mutex, OnceLock, PoisonError},
    time::Duration,
};
use tracing_subscriber::{EnvFilter, Registry, reload::Handle};
use uuid::Uuid;

/// What exports must not trace itself, or each export makes the next.
const QUIET: &str = "opentelemetry=warn,h2=warn,hyper=warn,hyper_util=warn,tonic=warn,sqlx=warn";
/// Crates of ours: what libraries write of their own may hold what callers sent.
const OURS: [&str; 17] = [
    "agent",
    "alerts",
    "edge",
    "inference",
    "limits",
    "money",
    "monitoring",
    "permissions",
    "policy",
    "proto",
    "requests",
    "schedule",
    "series",
    "shared",
    "simulate",
    "simulator",
    "tollgate",
];
/// Longest time for which a level holds before it goes back.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest text of a level, in bytes.
const TEXT: usize = 500;

/// Which lines are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// A level, or `target=level` pairs joined by commas.
    pub text: String,
    /// When it goes back to what is configured.
    pub until: Option<Time>,
}

/// A level that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    /// Not a level, or of code that is not ours.
    #[error("level: {0}")]
    Text(String),
    /// The time is too long.
    #[error("duration: must be more than 0 and at most 24 h")]
    Duration,
    /// This process writes no log.
    #[error("this process writes no log that could be changed")]
    NoLog,
}

/// Which process this is, among those that answer for one service.
pub static PROCESS: LazyLock<Uuid> = LazyLock::new(Uuid::now_v7);

static CONTROL: OnceLock<Control> = OnceLock::new();

#[derive(Debug)]
struct Control {
    handle: Handle<EnvFilter, Registry>,
    configured: String,
    now: Mutex<(Level, u64)>,
}

/// The filter of what is exported, whatever lines are written.
pub(super) fn traced() -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    EnvFilter::try_new(format!("{QUIET},info"))
}

/// The filter for what is configured.
pub(super) fn filter(text: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    EnvFilter::try_new(format!("{QUIET},{TRACED}=off,{text}"))
}

/// Makes the filter of this process one that can be changed.
pub(super) fn control(handle: Handle<EnvFilter, Registry>, configured: &str) {
    let level = Level { text: configured.to_owned(), until: None };
    let control = Control { handle, configured: configured.to_owned(), now: Mutex::new((level, 0)) };
    if CONTROL.set(control).is_err() {
        tracing::debug!("the log was started before");
    }
}

/// A level that may be set: checked, but not set yet.
#[derive(Debug)]
pub struct Next {
    control: &'static Control,
    filter: EnvFilter,
    /// What is written until it is set.
    pub before: Level,
    /// What is written then.
    pub after: Level,
}

/// What is written now, and what the configuration says.
///
/// # Errors
/// [`LevelError::NoLog`].
pub fn level() -> Result<(Level, &'static str), LevelError> {
    let control = CONTROL.get().ok_or(LevelError::NoLog)?;
    Ok((control.now.lock().unwrap_or_else(PoisonError::into_inner).0.clone(), &control.configured))
}

/// Checks a level: `text`, or what is configured when it is empty, for a time or until the process ends.
///
/// # Errors
/// [`LevelError`].
pub fn next(text: &str, duration: Option<Duration>) -> Result<Next, LevelError> {
    if let Some(part) = text.split(',').filter(|_| !text.is_empty()).find(|part| !is_level(part)) {
        let ours = OURS.join(", ");
        return Err(LevelError::Text(format!(
            "`{part}` must be off, error, warn, info, debug or trace, or target=level of {ours}"
        )));
    }
    if text.len() > TEXT {
        return Err(LevelError::Text(format!("must have at most {TEXT} bytes")));
    }
    if duration.is_some_and(|duration| duration.is_zero() || duration > LONGEST) {
        return Err(LevelError::Duration);
    }
    let (before, configured) = level()?;
    let control = CONTROL.get().ok_or(LevelError::NoLog)?;
    let text = if text.is_empty() { configured } else { text };
    let filter = filter(text).map_err(|problem| LevelError::Text(problem.to_string()))?;
    let until = duration.filter(|_| text != configured).map(|duration| time::now().plus(duration));
    Ok(Next { control, filter, before, after: Level { text: text.to_owned(), until } })
}

/// Whether this is a level, or one for a module of ours.
fn is_level(part: &str) -> bool {
    let (target, level) = part.split_once('=').map_or((None, part), |(target, level)| (Some(target), level));
    let ours = |target: &str| {
        let mut path = target.split("::");
        path.next().is_some_and(|name| OURS.contains(&name))
            && path
                .all(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
    };
    ["off", "error", "warn", "info", "debug", "trace"].contains(&level) && target.is_none_or(ours)
}

impl Next {
    /// Whether nothing would change.
    #[must_use]
    pub fn is_so(&self) -> bool {
        self.before == self.after
    }

    /// Sets it, and has it go back when its time is over.
    pub fn set(self, tasks: &Tasks) -> Level {
        let Self { control, filter, after, .. } = self;
        let turn = control.put(filter, after.clone());
        if let Some(until) = after.until {
            let left = u64::try_from(until.0.saturating_sub(time::now().0)).unwrap_or(0);
            let stop = tasks.stopping();
            tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(Duration::from_micros(left)) => control.go_back(turn),
                }
            });
        }
        after
    }
}

impl Control {
    fn put(&self, filter: EnvFilter, level: Level) -> u64 {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.handle.reload(filter) {
            tracing::warn!(%error, "the log level stays as it is");
        }
        *now = (level, now.1 + 1);
        now.1
    }

    /// Back to what is configured, unless something else was said since.
    fn go_back(&self, turn: u64) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.1 != turn {
            return;
        }
        match filter(&self.configured).map(|filter| self.handle.reload(filter)) {
            Ok(Ok(())) => *now = (Level { text: self.configured.clone(), until: None }, turn + 1),
            _ => tracing::warn!("the log level could not go back"),
        }
        drop(now);
        tracing::info!(level = self.configured, "the log level is as configured again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_ours_are_levels_and_those_of_libraries_are_not() {
        for level in ["warn", "off", "inference=debug", "shared::auth::layer=trace"] {
            assert!(is_level(level), "{level}");
        }
        for level in [
            "",
            "loud",
            "hyper=trace",
            "h2=debug",
            "shared::=debug",
            "shared=",
            "[call]=trace",
            "inference[call{x=1}]=trace",
        ] {
            assert!(!is_level(level), "{level}");
        }
        assert_eq!(next("info,loud", None).unwrap_err().to_string().split('`').nth(1), Some("loud"));
        assert_eq!(next("info", Some(LONGEST + Duration::from_secs(1))).unwrap_err(), LevelError::Duration);
    }
}
