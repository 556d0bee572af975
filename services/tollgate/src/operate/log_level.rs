//! Which log lines services write.

use super::{
    names::duration,
    plan::{Column, Plan, Shape, request},
};
use clap::Subcommand;
use serde_json::json;

const LEVELS: &[Column] = &[
    ("SERVICE", "service"),
    ("LEVEL", "level"),
    ("CONFIGURED", "configured"),
    ("UNTIL", "revert_time"),
    ("PROCESS", "process_id"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum LogLevel {
    /// Shows which lines are written.
    Show,
    /// Has other lines written.
    Set {
        /// off, error, warn, info, debug, trace, or pairs such as warn,inference=debug; "" for what is configured.
        level: String,
        /// Only this service: permissions, inference or monitoring.
        #[arg(long, default_value = "")]
        service: String,
        /// For how long: 10m, 2h. Until the service ends when left out.
        #[arg(long = "for")]
        time: Option<String>,
        #[arg(long, default_value = "")]
        reason: String,
    },
}

impl LogLevel {
    pub(crate) fn plan(self) -> anyhow::Result<Plan> {
        let shape = Shape::List { rows: "levels", columns: LEVELS };
        Ok(match self {
            Self::Show => Plan::new("LogService/GetLogLevel", json!({}), shape),
            Self::Set { level, service, time, reason } => {
                let asked = request([
                    ("level", Some(level.into())),
                    ("service", Some(service.into())),
                    ("duration", time.as_deref().map(duration).transpose()?),
                    ("reason", Some(reason.into())),
                ]);
                Plan::new("LogService/SetLogLevel", asked, shape)
            }
        })
    }
}
