//! Asking for models, and deciding about it.

use super::{
    call::Client,
    names::duration,
    plan::{Column, Plan, request},
};
use clap::{Subcommand, ValueEnum};
use serde_json::json;

const REQUESTS: &[Column] = &[
    ("STATE", "state"),
    ("REVIEW", "review"),
    ("MODEL", "model_id"),
    ("REQUESTER", "requester_id"),
    ("WHY", "justification"),
    ("ID", "access_request_id"),
];

/// Which requests to list.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum View {
    Mine,
    ToDecide,
    All,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Requests {
    /// Lists requests.
    List {
        #[arg(long, value_enum, default_value_t = View::Mine)]
        view: View,
    },
    /// Shows one request with what was said about it.
    Show { request_id: String },
    /// Asks for a model.
    Create {
        /// Name or id; of a model that you may not see, the id.
        model: String,
        /// What for.
        #[arg(long)]
        why: String,
        /// How long: 12h, 30d.
        #[arg(long)]
        duration: Option<String>,
        /// To manage it, not only to use it.
        #[arg(long)]
        manage: bool,
        /// Take it at once, where the policy allows, to be reviewed afterwards.
        #[arg(long)]
        break_glass: bool,
    },
    /// Approves a request, perhaps for less.
    Approve {
        request_id: String,
        /// For at most this long: 12h, 30d.
        #[arg(long)]
        duration: Option<String>,
        /// To use it, although more was asked for.
        #[arg(long)]
        use_only: bool,
        #[arg(long, default_value = "")]
        comment: String,
    },
    /// Denies a request.
    Deny {
        request_id: String,
        #[arg(long, default_value = "")]
        comment: String,
    },
    /// Takes your own request back.
    Cancel { request_id: String },
    /// Adds a comment.
    Comment { request_id: String, text: String },
    /// Says whether breaking the glass was right; if not, the grant is revoked.
    Review {
        request_id: String,
        #[arg(long)]
        reject: bool,
        #[arg(long, default_value = "")]
        comment: String,
    },
}

impl Requests {
    pub(crate) async fn plan(self, client: &Client) -> anyhow::Result<Plan> {
        let one = "access_request";
        Ok(match self {
            Self::List { view } => {
                let view = match view {
                    View::Mine => "ACCESS_REQUEST_VIEW_MINE",
                    View::ToDecide => "ACCESS_REQUEST_VIEW_TO_DECIDE",
                    View::All => "ACCESS_REQUEST_VIEW_ALL",
                };
                let asked = json!({ "view": view });
                Plan::list("AccessRequestService/ListAccessRequests", asked, "access_requests", REQUESTS)
            }
            Self::Show { request_id } => {
                let asked = json!({ "access_request_id": request_id });
                Plan::thing("AccessRequestService/GetAccessRequest", asked, one)
            }
            Self::Create { model, why, duration: long, manage, break_glass } => {
                let asked = request([
                    ("model_id", Some(client.model(&model).await?)),
                    ("action", Some(json!(if manage { "ACTION_MANAGE" } else { "ACTION_USE" }))),
                    ("justification", Some(json!(why))),
                    ("duration", long.as_deref().map(duration).transpose()?),
                    ("break_glass", Some(json!(break_glass))),
                ]);
                Plan::thing("AccessRequestService/CreateAccessRequest", asked, one)
            }
            Self::Approve { request_id, duration: long, use_only, comment } => {
                let asked = request([
                    ("access_request_id", Some(json!(request_id))),
                    ("comment", Some(json!(comment))),
                    ("duration", long.as_deref().map(duration).transpose()?),
                    ("use_only", Some(json!(use_only))),
                ]);
                Plan::thing("AccessRequestService/ApproveAccessRequest", asked, one)
            }
            Self::Deny { request_id, comment } => {
                let asked = json!({ "access_request_id": request_id, "comment": comment });
                Plan::thing("AccessRequestService/DenyAccessRequest", asked, one)
            }
            Self::Cancel { request_id } => {
                let asked = json!({ "access_request_id": request_id });
                Plan::thing("AccessRequestService/CancelAccessRequest", asked, one)
            }
            Self::Comment { request_id, text } => {
                let asked = json!({ "access_request_id": request_id, "text": text });
                Plan::thing("AccessRequestService/CommentAccessRequest", asked, one)
            }
            Self::Review { request_id, reject, comment } => {
                let asked = json!({ "access_request_id": request_id, "accept": !reject, "comment": comment });
                Plan::thing("AccessRequestService/ReviewAccessRequest", asked, one)
            }
        })
    }
}
