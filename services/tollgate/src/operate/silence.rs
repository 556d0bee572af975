//! Silences: of which alerts nobody wants to hear for a while.

use super::{
    call::Client,
    names::in_future,
    plan::{Column, Plan},
};
use clap::Subcommand;
use serde_json::json;

const SILENCES: &[Column] = &[
    ("ID", "silence_id"),
    ("STATE", "state"),
    ("MATCHERS", "matchers"),
    ("UNTIL", "end_time"),
    ("COMMENT", "comment"),
];

const HELD: &[Column] = &[
    ("ALERT", "labels.alertname"),
    ("SEVERITY", "severity"),
    ("STATE", "state"),
    ("SUMMARY", "annotations.summary"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Silences {
    /// Makes a silence.
    Add {
        /// Like alertname=EngineDown or model=~"llama.*"; an alert is held back when all of them take it.
        #[arg(required = true)]
        matchers: Vec<String>,
        /// For so long: 30m, 12h.
        #[arg(long = "for", default_value = "1h")]
        duration: String,
        /// Why.
        #[arg(long, default_value = "")]
        comment: String,
    },
    /// Lists silences, the newest first.
    List,
    /// Ends a silence now.
    Expire { silence_id: String },
    /// Which alerts a silence would hold back.
    Preview {
        #[arg(required = true)]
        matchers: Vec<String>,
    },
}

impl Silences {
    #[expect(clippy::unused_async, reason = "as the other nouns, some of which look names up")]
    pub(crate) async fn plan(self, _client: &Client) -> anyhow::Result<Plan> {
        Ok(match self {
            Self::Add { matchers, duration, comment } => Plan::thing(
                "SilenceService/CreateSilence",
                json!({ "matchers": matchers, "end_time": in_future(&duration)?, "comment": comment }),
                "silence",
            ),
            Self::List => Plan::list("SilenceService/ListSilences", json!({}), "silences", SILENCES),
            Self::Expire { silence_id } => {
                Plan::thing("SilenceService/ExpireSilence", json!({ "silence_id": silence_id }), "silence")
            }
            Self::Preview { matchers } => {
                Plan::list("SilenceService/PreviewSilence", json!({ "matchers": matchers }), "alerts", HELD)
            }
        })
    }
}
