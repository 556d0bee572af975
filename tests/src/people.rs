//! Users, groups, keys and grants, made over REST.

use crate::{http::Client, suite::MODEL, until};
use serde_json::{Value, json};

/// A user with a key.
#[derive(Debug, Clone)]
pub struct Person {
    /// The user's id.
    pub id: String,
    /// The secret of the key.
    pub key: String,
}

/// Creates a user with a key.
pub async fn person(owner: &Client, name: &str) -> Person {
    let user = json!({"email": format!("{name}@example.org"), "display_name": name});
    let id = text(&owner.post("/api/v1/users", &user).await.data()["user"]["user_id"]);
    let key = owner.post("/api/v1/keys", &json!({"name": name, "user_id": id})).await.data();
    Person { id, key: text(&key["secret"]) }
}

/// Creates a group.
pub async fn group(owner: &Client, name: &str) -> String {
    text(&owner.post("/api/v1/groups", &json!({"name": name})).await.data()["group"]["group_id"])
}

/// Puts a member, `{"user_id": …}` or `{"member_group_id": …}`, into a group.
pub async fn join(owner: &Client, group: &str, member: &Value) {
    let body = json!({"membership": member});
    let _ = owner.post(&format!("/api/v1/groups/{group}/members"), &body).await.data();
}

/// Registers a model.
pub async fn register(owner: &Client, name: &str) -> String {
    text(&owner.post("/api/v1/models", &json!({"name": name})).await.data()["model"]["model_id"])
}

/// The id of a model.
pub async fn model_id(owner: &Client, name: &str) -> String {
    let models = owner.get("/api/v1/models").await.data();
    let model = models["models"].as_array().unwrap().iter().find(|model| model["name"] == name);
    text(&model.unwrap_or_else(|| panic!("{name} is not among {models}"))["model_id"])
}

/// Lets somebody, `{"user_id": …}` and the like, use a model, or says otherwise by further fields. Returns the grant.
pub async fn grant(owner: &Client, model_id: &str, fields: &Value) -> String {
    let mut grant = json!({"model_id": model_id, "action": "ACTION_USE"});
    grant.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    text(&owner.post("/api/v1/grants", &json!({"grant": grant})).await.data()["grant"]["grant_id"])
}

/// Takes a grant back.
pub async fn revoke(owner: &Client, grant: &str) {
    let _ = owner.delete(&format!("/api/v1/grants/{grant}")).await.data();
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Makes so many users who may use the simulated model, and waits until the last of them may. Returns their keys.
pub async fn crowd(owner: &Client, many: usize) -> Vec<String> {
    let known = until("the model", async || {
        let models = owner.get("/api/v1/models").await.data();
        let known = models["models"]
            .as_array()
            .is_some_and(|models| models.iter().any(|model| model["name"] == MODEL));
        known.then_some(())
    });
    known.await;
    let model = model_id(owner, MODEL).await;
    let mut keys = Vec::new();
    for number in 0..many {
        let person = person(owner, &format!("user-{number}")).await;
        grant(owner, &model, &json!({"user_id": person.id})).await;
        keys.push(person.key);
    }
    let last = owner.with_key(&keys[many - 1]);
    until("a user who may", async || {
        let may =
            last.get("/v1/models").await.json()["data"].as_array().is_some_and(|models| !models.is_empty());
        may.then_some(())
    })
    .await;
    keys
}
