//! Groups and who is in them.

use super::{
    call::Client,
    names::in_future,
    plan::{Column, Plan, request},
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

const GROUPS: &[Column] = &[("NAME", "name"), ("DESCRIPTION", "description"), ("ID", "group_id")];
const MEMBERS: &[Column] = &[("USER", "user_id"), ("GROUP", "member_group_id"), ("UNTIL", "expire_time")];

#[derive(Debug, Subcommand)]
pub(crate) enum Groups {
    /// Lists groups.
    List {
        /// Only names that contain this.
        #[arg(long, default_value = "")]
        search: String,
    },
    /// Creates an empty group.
    Create {
        name: String,
        #[arg(long, default_value = "")]
        description: String,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Deletes a group; it can be restored for 30 days.
    Delete {
        group: String,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Restores a deleted group with its members and grants; by id.
    Undelete { group_id: String },
    /// Lists who is in a group directly.
    Members { group: String },
    /// Puts a user or a group into a group.
    Add {
        group: String,
        #[command(flatten)]
        member: Member,
        /// How long, from now: 12h, 30d.
        #[arg(long)]
        expires: Option<String>,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Takes a user or a group out of a group.
    Remove {
        group: String,
        #[command(flatten)]
        member: Member,
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// A user or a group.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Member {
    /// E-mail address or id of a user.
    #[arg(long)]
    user: Option<String>,
    /// Name or id of a group.
    #[arg(long, value_name = "GROUP")]
    member_group: Option<String>,
}

impl Groups {
    pub(crate) async fn plan(self, client: &Client) -> anyhow::Result<Plan> {
        Ok(match self {
            Self::List { search } => {
                Plan::list("GroupService/ListGroups", json!({ "search": search }), "groups", GROUPS)
            }
            Self::Create { name, description, reason } => {
                let asked = json!({ "name": name, "description": description, "reason": reason });
                Plan::thing("GroupService/CreateGroup", asked, "group")
            }
            Self::Delete { group, reason } => {
                let asked = json!({ "group_id": client.group(&group).await?, "reason": reason });
                Plan::done(
                    "GroupService/DeleteGroup",
                    asked,
                    "deleted; `groups undelete` restores it for 30 days",
                )
            }
            Self::Undelete { group_id } => {
                Plan::thing("GroupService/UndeleteGroup", json!({ "group_id": group_id }), "group")
            }
            Self::Members { group } => {
                let asked = json!({ "group_id": client.group(&group).await? });
                Plan::list("GroupService/ListMembers", asked, "memberships", MEMBERS)
            }
            Self::Add { group, member, expires, reason } => {
                let until = ("expire_time", expires.as_deref().map(in_future).transpose()?);
                let membership = request(member.fields(client).await?.into_iter().chain([until]));
                let group = client.group(&group).await?;
                let asked = json!({ "group_id": group, "membership": membership, "reason": reason });
                Plan::thing("GroupService/AddMember", asked, "membership")
            }
            Self::Remove { group, member, reason } => {
                let group = client.group(&group).await?;
                let fields = [("group_id", Some(group)), ("reason", Some(json!(reason)))];
                let asked = request(member.fields(client).await?.into_iter().chain(fields));
                Plan::done("GroupService/RemoveMember", asked, "removed")
            }
        })
    }
}

impl Member {
    async fn fields(&self, client: &Client) -> anyhow::Result<[(&'static str, Option<Value>); 2]> {
        let user = client.maybe(self.user.as_deref().map(|user| client.user(user))).await?;
        let group = client.maybe(self.member_group.as_deref().map(|group| client.group(group))).await?;
        Ok([("user_id", user), ("member_group_id", group)])
    }
}
