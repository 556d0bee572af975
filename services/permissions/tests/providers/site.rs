//! The service with identity providers, configured by a file, and the ways to sign in through it.

use crate::{
    browser::{Back, Browser, REDIRECT},
    idp::{Idp, SECRET},
    world::{self, Caller, World},
};
use permissions::{Config, MIGRATIONS};
use proto::permissions::v1::{self as pb, provider_service_client::ProviderServiceClient};
use serde_json::{Value, json};
use shared::{channel::Channel, db::Db, on};
use std::{fmt::Write as _, fs};
use tonic::{Response, Status};

/// Settings of one OpenID provider, `extra` among them.
pub(crate) fn oidc(id: &str, issuer: &str, extra: &str) -> String {
    format!(
        "[[identity_providers]]\nid = \"{id}\"\nkind = \"oidc\"\ndisplay_name = \"The {id}\"\nissuer = \"{issuer}\"\n\
         client_id = \"tollgate\"\nclient_secret.value = \"{SECRET}\"\nscopes = [\"email\", \"profile\", \"groups\"]\n\
         redirect_uris = [\"{REDIRECT}\"]\n{extra}\n"
    )
}

/// Settings as the service reads them from a file.
pub(crate) fn config(text: &str) -> Result<Config, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tollgate.toml");
    fs::write(&file, text).unwrap();
    let loaded = shared::config::load(Some(&file), &[], Default::default());
    loaded.map(|loaded| loaded.config).map_err(|faults| faults.0)
}

/// Good settings, with a key to encrypt by.
pub(crate) fn sealed(text: &str) -> Config {
    Config { encryption_keys: world::config().encryption_keys, ..config(text).unwrap() }
}

/// The service on SQLite with these settings.
pub(crate) async fn site(settings: &str) -> World {
    World::on(Db::memory(&MIGRATIONS).await.unwrap(), None, &sealed(settings)).await
}

/// The service on SQLite with one OpenID provider called `corp`.
pub(crate) async fn with_idp(idp: &Idp, extra: &str) -> World {
    site(&oidc("corp", &idp.issuer(), extra)).await
}

pub(crate) fn providers(caller: &Caller) -> ProviderServiceClient<Channel> {
    ProviderServiceClient::new(caller.channel())
}

/// Claims of somebody with a verified address.
pub(crate) fn person(email: &str, groups: &[&str]) -> Value {
    json!({"name": "Ana B.", "email": email, "email_verified": true, "groups": groups})
}

impl World {
    /// Whoever signs in: has no credential yet.
    pub(crate) fn visitor(&self) -> Caller {
        self.nobody()
    }

    pub(crate) async fn begin(&self, provider: &str) -> pb::StartSignInResponse {
        self.try_begin(provider).await.unwrap().into_inner()
    }

    pub(crate) async fn try_begin(
        &self,
        provider: &str,
    ) -> Result<Response<pb::StartSignInResponse>, Status> {
        let request =
            pb::StartSignInRequest { provider: provider.to_owned(), redirect_uri: REDIRECT.to_owned() };
        providers(&self.visitor()).start_sign_in(request).await
    }

    pub(crate) async fn complete(
        &self,
        begun: &pb::StartSignInResponse,
        back: &Back,
    ) -> Result<Response<pb::CompleteSignInResponse>, Status> {
        providers(&self.visitor()).complete_sign_in(completion(begun, back)).await
    }

    /// The whole way, in a browser of its own.
    pub(crate) async fn try_sign_in(
        &self,
        provider: &str,
        login: &str,
    ) -> Result<Response<pb::CompleteSignInResponse>, Status> {
        let begun = self.begin(provider).await;
        let back = Browser::default().sign_in(&begun.authorization_url, login).await;
        self.complete(&begun, &back).await
    }

    pub(crate) async fn sign_in(&self, provider: &str, login: &str) -> pb::CompleteSignInResponse {
        self.try_sign_in(provider, login).await.unwrap().into_inner()
    }

    /// Names of the groups that a user is a direct member of, in order.
    pub(crate) async fn groups_of(&self, user: &str) -> Vec<String> {
        let groups = self.owner.groups().list_groups(pb::ListGroupsRequest::default()).await.unwrap();
        let mut names = Vec::new();
        for group in groups.into_inner().groups {
            let request = pb::ListMembersRequest { group_id: group.group_id, ..Default::default() };
            let members = self.owner.groups().list_members(request).await.unwrap().into_inner().memberships;
            let user = Some(pb::membership::Member::UserId(user.to_owned()));
            let is_in = members.iter().any(|membership| membership.member == user);
            if is_in {
                names.push(group.name);
            }
        }
        names.sort();
        names
    }

    pub(crate) async fn user_of(&self, user: &str) -> pb::User {
        let request = pb::GetUserRequest { user_id: user.to_owned() };
        self.owner.users().get_user(request).await.unwrap().into_inner().user.unwrap()
    }

    /// A number that one statement finds in the store.
    pub(crate) async fn count(&self, statement: &'static str) -> i64 {
        on!(&self.db, |pool| sqlx::query_scalar(statement).fetch_one(pool).await).unwrap()
    }

    /// A text that one statement finds in the store.
    pub(crate) async fn text(&self, statement: &'static str) -> String {
        on!(&self.db, |pool| sqlx::query_scalar(statement).fetch_one(pool).await).unwrap()
    }

    pub(crate) async fn identities(&self, user: &str) -> Vec<pb::Identity> {
        let request = pb::ListIdentitiesRequest { user_id: user.to_owned() };
        providers(&self.owner).list_identities(request).await.unwrap().into_inner().identities
    }
}

/// What a page sends that the browser came back to.
pub(crate) fn completion(begun: &pb::StartSignInResponse, back: &Back) -> pb::CompleteSignInRequest {
    pb::CompleteSignInRequest {
        sign_in_token: begun.sign_in_token.clone(),
        state: back.get("state"),
        code: back.get("code"),
        issuer: back.get("iss"),
        error: back.get("error"),
    }
}

/// The URL with one parameter of its query changed.
pub(crate) fn tampered(url: &str, name: &str, value: &str) -> String {
    let mut url = openidconnect::url::Url::parse(url).unwrap();
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    assert!(pairs.iter().any(|(key, _)| key == name), "{name} in {url}");
    let mut query = String::new();
    for (key, old) in pairs {
        let value = if key == name { value } else { &old };
        let encoded: String = openidconnect::url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        write!(query, "{key}={encoded}&").unwrap();
    }
    url.set_query(Some(query.trim_end_matches('&')));
    url.into()
}

/// A parameter of the query of a URL.
pub(crate) fn query(url: &str, name: &str) -> String {
    let url = openidconnect::url::Url::parse(url).unwrap();
    let found = url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    found.unwrap_or_else(|| panic!("{name} in {url}"))
}
