//! Which errors say that the database is away, and what its callers are told of when to come back.

use super::Violation;
use std::{io, time::Duration};

/// When nothing better is known of when a database is back.
const SOON: Duration = Duration::from_secs(1);

/// The breaker is open: nothing was asked.
#[derive(Debug, thiserror::Error)]
#[error("the database failed too often of late and is left alone until the next probe")]
struct Refused {
    retry_in: Duration,
}

/// No answer came within the time that the statement had.
#[derive(Debug, thiserror::Error)]
#[error("the database did not answer within {0:?}")]
struct Late(Duration);

pub(super) fn refused(retry_in: Duration) -> sqlx::Error {
    sqlx::Error::Io(io::Error::other(Refused { retry_in }))
}

pub(super) fn late(limit: Duration) -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, Late(limit)))
}

/// When asking again may help, for the RetryInfo of an answer: the time to the next probe while the breaker is open.
#[must_use]
pub fn retry_after(error: &sqlx::Error) -> Duration {
    let sqlx::Error::Io(error) = error else { return SOON };
    let refused = error.get_ref().and_then(|inner| inner.downcast_ref::<Refused>());
    refused.map_or(SOON, |refused| refused.retry_in.max(SOON))
}

/// Whether an error, or what caused it, is that the breaker is open: it said so itself when it opened.
pub(crate) fn is_refusal(error: &(dyn std::error::Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error| error.source());
    // Wrappers leave out links of the chain, but the one that holds the reason is in all of them.
    let mut inner = causes.filter_map(|cause| cause.downcast_ref::<io::Error>()?.get_ref());
    inner.any(|inner| inner.is::<Refused>())
}

/// The constraint that an error is about, or `None` when it is about something else.
#[must_use]
pub fn violation(error: &sqlx::Error) -> Option<Violation> {
    use sqlx::error::ErrorKind;
    Some(match error.as_database_error()?.kind() {
        ErrorKind::UniqueViolation => Violation::Unique,
        ErrorKind::ForeignKeyViolation => Violation::ForeignKey,
        ErrorKind::NotNullViolation | ErrorKind::CheckViolation | ErrorKind::ExclusionViolation => {
            Violation::Other
        }
        _ => return None,
    })
}

/// Whether the database could not be reached or broke off, as against having answered something unwelcome.
pub(super) fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_outage_code(&code)),
        _ => false,
    }
}

/// Five characters are a SQLSTATE of PostgreSQL; a number is a result code of SQLite, its kind in the low byte.
fn is_outage_code(code: &str) -> bool {
    match code {
        // Ended by an administrator, by a crash, or starting up; too many connections; the disk fails it.
        "57P01" | "57P02" | "57P03" | "53300" | "58030" => true,
        _ if code.len() == 5 && code.starts_with("08") => true,
        // SQLITE_IOERR and SQLITE_CANTOPEN.
        _ => code.parse::<u32>().is_ok_and(|code| code < 10_000 && matches!(code & 0xff, 10 | 14)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_database_answered_is_no_outage() {
        assert!(!is_outage(&sqlx::Error::RowNotFound));
        assert!(!is_outage(&sqlx::Error::PoolClosed));
        // Unique violation, statement timeout, serialization failure, disk full; SQLITE_BUSY, SQLITE_CONSTRAINT_UNIQUE.
        for code in ["23505", "57014", "40001", "53100", "5", "2067", "1555", ""] {
            assert!(!is_outage_code(code), "{code}");
        }
    }

    #[test]
    fn what_kept_it_from_answering_is_one() {
        for error in
            [sqlx::Error::PoolTimedOut, late(SOON), sqlx::Error::Io(io::ErrorKind::BrokenPipe.into())]
        {
            assert!(is_outage(&error), "{error}");
        }
        for code in ["08006", "08P01", "57P01", "57P03", "53300", "10", "266", "14"] {
            assert!(is_outage_code(code), "{code}");
        }
    }

    #[test]
    fn a_refusal_is_known_through_what_wraps_it() {
        #[derive(Debug, thiserror::Error)]
        enum Wrapped {
            #[error(transparent)]
            Store(#[from] sqlx::Error),
            #[error("the store is away")]
            Service(#[source] Box<Wrapped>),
        }
        for (error, expected) in
            [(refused(SOON), true), (late(SOON), false), (sqlx::Error::PoolTimedOut, false)]
        {
            let wrapped = Wrapped::Service(Box::new(Wrapped::Store(error)));
            assert_eq!(is_refusal(&wrapped), expected, "{wrapped:?}");
        }
    }

    #[test]
    fn only_an_open_breaker_knows_when_to_come_back() {
        assert_eq!(retry_after(&refused(Duration::from_secs(17))), Duration::from_secs(17));
        assert_eq!(retry_after(&refused(Duration::ZERO)), SOON, "a probe is under way");
        assert_eq!(retry_after(&sqlx::Error::PoolTimedOut), SOON);
        assert_eq!(retry_after(&late(SOON)), SOON);
    }
}
