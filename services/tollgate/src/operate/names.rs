//! People write names, the contract takes ids: a UUID is taken as it is, a name is looked up.

use super::call::{Client, needed};
use anyhow::{Context, bail};
use serde_json::{Value, json};
use uuid::Uuid;

/// A list to look a name up in.
struct Book {
    method: &'static str,
    rows: &'static str,
    name: &'static str,
    id: &'static str,
    kind: &'static str,
}

const MODELS: Book =
    Book { method: "ModelService/ListModels", rows: "models", name: "name", id: "model_id", kind: "model" };
const SETS: Book = Book {
    method: "ModelSetService/ListModelSets",
    rows: "model_sets",
    name: "name",
    id: "model_set_id",
    kind: "model set",
};
const GROUPS: Book =
    Book { method: "GroupService/ListGroups", rows: "groups", name: "name", id: "group_id", kind: "group" };

impl Client {
    /// A model by its name.
    pub(crate) async fn model(&self, name: &str) -> anyhow::Result<Value> {
        self.find(&MODELS, name, json!({ "search": name })).await
    }

    /// A model set by its name.
    pub(crate) async fn set(&self, name: &str) -> anyhow::Result<Value> {
        self.find(&SETS, name, json!({ "search": name })).await
    }

    /// A group by its name.
    pub(crate) async fn group(&self, name: &str) -> anyhow::Result<Value> {
        self.find(&GROUPS, name, json!({ "search": name })).await
    }

    /// A user by the e-mail address.
    pub(crate) async fn user(&self, email: &str) -> anyhow::Result<Value> {
        if Uuid::try_parse(email).is_ok() {
            return Ok(json!(email));
        }
        let answer = self.unary("UserService/ListUsers", &json!({ "email": email })).await?;
        let user = answer["users"].get(0).with_context(|| format!("there is no user {email}"))?;
        Ok(json!(needed(user, "user_id")?))
    }

    async fn find(&self, book: &Book, name: &str, request: Value) -> anyhow::Result<Value> {
        if Uuid::try_parse(name).is_ok() {
            return Ok(json!(name));
        }
        let rows = self.all(book.method, request, book.rows).await?;
        match rows.iter().find(|row| row[book.name] == name) {
            Some(row) => Ok(json!(needed(row, book.id)?)),
            None => bail!("there is no {} named {name}", book.kind),
        }
    }

    /// What a flag names, when it is given.
    pub(crate) async fn maybe<F: Future<Output = anyhow::Result<Value>>>(
        &self,
        named: Option<F>,
    ) -> anyhow::Result<Option<Value>> {
        match named {
            Some(named) => named.await.map(Some),
            None => Ok(None),
        }
    }
}

/// A duration like `30m`, `12h` or `7d` from now, as an instant.
pub(crate) fn in_future(text: &str) -> anyhow::Result<Value> {
    let end = jiff::Timestamp::now() + jiff::SignedDuration::try_from(seconds(text)?)?;
    Ok(json!(end.to_string()))
}

/// The time so long ago.
pub(crate) fn in_past(text: &str) -> anyhow::Result<Value> {
    let begin = jiff::Timestamp::now() - jiff::SignedDuration::try_from(seconds(text)?)?;
    Ok(json!(begin.to_string()))
}

/// A duration as the contract's JSON has it.
pub(crate) fn duration(text: &str) -> anyhow::Result<Value> {
    Ok(json!(format!("{}s", seconds(text)?.as_secs())))
}

fn seconds(text: &str) -> anyhow::Result<std::time::Duration> {
    text.parse::<humantime_serde::re::humantime::Duration>()
        .map(Into::into)
        .with_context(|| format!("{text} is no duration like 30m, 12h or 7d"))
}
