//! Users: who there is, and many at once from a file.

use super::{
    call::Client,
    import::{Import, Way},
    plan::{Column, Plan, request},
};
use clap::Subcommand;
use serde_json::json;

const USERS: &[Column] =
    &[("E-MAIL", "email"), ("NAME", "display_name"), ("ROLE", "role"), ("ID", "user_id")];
const USERS_IMPORT: Way =
    Way { upload: "UserService/ImportUsers", stand: "UserService/GetUserImport", part: "rows", rows: "rows" };

#[derive(Debug, Subcommand)]
pub(crate) enum Users {
    /// Lists users.
    List {
        /// Only the one with this address.
        #[arg(long)]
        email: Option<String>,
    },
    /// Creates users from a file of any length: a line of JSON each, {"email": …, "display_name": …, "role": …,
    /// "groups": [<names>]}. Whoever is there already is left alone.
    Import(Import),
}

impl Users {
    pub(crate) async fn plan(self, client: &Client) -> anyhow::Result<Plan> {
        Ok(match self {
            Self::List { email } => {
                let asked = request([("email", email.map(|email| json!(email)))]);
                Plan::list("UserService/ListUsers", asked, "users", USERS)
            }
            Self::Import(import) => import.plan(client, &USERS_IMPORT).await?,
        })
    }
}
