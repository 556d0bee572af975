//! What was changed, by whom, and what was true when.

use super::{
    call::Client,
    plan::{Column, Plan, Shape, request},
};
use clap::Subcommand;
use serde_json::{Value, json};

const EVENTS: &[Column] = &[
    ("SERVICE", "service"),
    ("REVISION", "revision"),
    ("TIME", "time"),
    ("ACTOR", "actor"),
    ("KIND", "kind"),
    ("ACTION", "action"),
    ("THING", "id"),
    ("REASON", "reason"),
];
const DIFFERENCES: &[Column] = &[
    ("USER", "user_id"),
    ("MODEL", "model_id"),
    ("ACTION", "action"),
    ("VERDICT", "verdict"),
    ("SINCE REVISION", "cause.revision"),
    ("SINCE", "cause.time"),
];
const INTERVALS: &[Column] =
    &[("ACTION", "action"), ("FROM", "begin.time"), ("UNTIL", "end.time"), ("BY REVISION", "begin.revision")];
const CHAIN: &[Column] = &[
    ("CHECKED", "checked"),
    ("UP TO", "revision"),
    ("FINISHED", "finished"),
    ("FAULT", "fault.problem"),
    ("AT", "fault.revision"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Lists what was changed through any service, newest first.
    List {
        /// Only what this user did; e-mail address or id.
        #[arg(long)]
        actor: Option<String>,
        /// Only changes of this kind of thing: user, group, model, grant, key, …
        #[arg(long)]
        kind: Option<String>,
        /// Only changes of the thing of this id.
        #[arg(long)]
        id: Option<String>,
        /// Only changes made in this request.
        #[arg(long)]
        request_id: Option<String>,
        /// Only changes made through this service: permissions, inference or monitoring.
        #[arg(long, default_value = "")]
        service: String,
    },
    /// Shows one event of permissions with what was before and after.
    Show {
        revision: u64,
        #[arg(default_value_t = 0)]
        ordinal: u32,
    },
    /// Checks that no event of permissions was changed, left out or added.
    Verify,
    /// Who gained and lost what between two revisions.
    Diff { from: u64, to: u64 },
    /// When somebody could use a model.
    History { user: String, model: String },
    /// Writes all events of permissions, oldest first; with `-o json` a line each.
    Export {
        /// Only those after this revision.
        #[arg(long, default_value_t = 0)]
        after: u64,
    },
    /// Shows changes as they are made.
    Watch,
}

impl Audit {
    pub(crate) async fn plan(self, client: &Client) -> anyhow::Result<Plan> {
        Ok(match self {
            Self::List { actor, kind, id, request_id, service } => {
                let filter = request([
                    ("actor", client.maybe(actor.as_deref().map(|actor| client.user(actor))).await?),
                    ("kind", kind.map(Value::from)),
                    ("id", id.map(Value::from)),
                    ("request_id", request_id.map(Value::from)),
                ]);
                let asked = json!({ "filter": filter, "service": service });
                Plan::list("EventService/ListEvents", asked, "events", EVENTS)
            }
            Self::Show { revision, ordinal } => {
                let asked = json!({ "revision": revision, "ordinal": ordinal });
                Plan::thing("AuditService/GetEvent", asked, "event")
            }
            Self::Verify => {
                let shape = Shape::Stream { row: "", columns: CHAIN };
                Plan::new("AuditService/VerifyChain", json!({}), shape)
            }
            Self::Diff { from, to } => {
                let asked = json!({ "from_revision": from, "to_revision": to });
                Plan::list("AuditService/DiffPermissions", asked, "differences", DIFFERENCES)
            }
            Self::History { user, model } => {
                let asked =
                    json!({ "user_id": client.user(&user).await?, "model_id": client.model(&model).await? });
                let shape = Shape::List { rows: "intervals", columns: INTERVALS };
                Plan::new("AuditService/GetAccessHistory", asked, shape)
            }
            Self::Export { after } => {
                let shape = Shape::Stream { row: "event", columns: EVENTS };
                Plan::new("AuditService/ExportEvents", json!({ "after_revision": after }), shape)
            }
            Self::Watch => {
                let shape = Shape::Stream { row: "event", columns: EVENTS };
                Plan::new("ChangeService/WatchChanges", json!({}), shape)
            }
        })
    }
}
