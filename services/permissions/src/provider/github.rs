//! GitHub: OAuth 2 with PKCE, and three questions to its REST API. It has no ID tokens, so who somebody is, is asked with
//! the access token that the exchange brought, over TLS.

use super::{ExternalIdentity, Http, Proof, ProviderError, Settings, refusal};
use http::{Request, StatusCode, header};
use openidconnect::{
    PkceCodeChallenge, PkceCodeVerifier,
    url::{Url, form_urlencoded},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, de::DeserializeOwned};

/// Organisations per page, GitHub's most.
const PAGE: usize = 100;
/// Pages of organisations that are read; nobody is in more.
const PAGES: usize = 10;

/// One GitHub.
#[derive(Debug)]
pub(super) struct Github {
    authorize: Url,
    token: Url,
    api: Url,
    client_id: String,
    client_secret: SecretString,
    scopes: String,
    http: Http,
}

#[derive(Deserialize)]
struct Exchange {
    access_token: Option<SecretString>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct User {
    id: u64,
    login: String,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Email {
    email: String,
    primary: bool,
    verified: bool,
}

#[derive(Deserialize)]
struct Organisation {
    login: String,
}

impl Github {
    pub(super) fn new(settings: &Settings, authorize: Url, token: Url, api: Url, http: Http) -> Self {
        Self {
            authorize,
            token,
            api,
            client_id: settings.client_id.clone(),
            client_secret: settings.client_secret.clone(),
            scopes: settings.scopes.join(" "),
            http,
        }
    }

    pub(super) fn start(&self, redirect_uri: &str, state: &str, proof: &Proof) -> String {
        let verifier = PkceCodeVerifier::new(proof.verifier.expose_secret().to_owned());
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
        let mut url = self.authorize.clone();
        url.query_pairs_mut()
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("response_type", "code")
            .append_pair("scope", &self.scopes)
            .append_pair("state", state)
            .append_pair("code_challenge", challenge.as_str())
            .append_pair("code_challenge_method", challenge.method());
        url.into()
    }

    pub(super) async fn complete(
        &self,
        code: &SecretString,
        redirect_uri: &str,
        proof: &Proof,
    ) -> Result<ExternalIdentity, ProviderError> {
        let token = self.exchange(code, redirect_uri, proof).await?;
        let user: User = self.ask(&token, "user").await?;
        let emails: Vec<Email> = self.ask(&token, "user/emails").await?;
        let groups = self.organisations(&token).await?;
        let email = emails.into_iter().find(|email| email.primary);
        Ok(ExternalIdentity {
            provider: String::new(),
            subject: user.id.to_string(),
            email_verified: email.as_ref().is_some_and(|email| email.verified),
            email: email.map(|email| email.email),
            display_name: user.name.unwrap_or(user.login),
            groups,
        })
    }

    /// The access token for a code. GitHub says 200 to refusals too, with an `error` in the answer.
    async fn exchange(
        &self,
        code: &SecretString,
        redirect_uri: &str,
        proof: &Proof,
    ) -> Result<SecretString, ProviderError> {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", &self.client_id)
            .append_pair("client_secret", self.client_secret.expose_secret())
            .append_pair("code", code.expose_secret())
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("code_verifier", proof.verifier.expose_secret())
            .finish();
        let request = Request::post(self.token.as_str())
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.into_bytes());
        let answer: Exchange = self.answer(request).await?;
        match (answer.access_token, answer.error) {
            (Some(token), None) => Ok(token),
            (_, Some(error)) => Err(refusal(&error)),
            (None, None) => Err(ProviderError::Malformed("the exchange brought no access token")),
        }
    }

    async fn organisations(&self, token: &SecretString) -> Result<Vec<String>, ProviderError> {
        let mut names = Vec::new();
        for page in 1..=PAGES {
            let path = format!("user/orgs?per_page={PAGE}&page={page}");
            let found: Vec<Organisation> = self.ask(token, &path).await?;
            let last = found.len() < PAGE;
            names.extend(found.into_iter().map(|organisation| organisation.login.to_lowercase()));
            if last {
                return Ok(names);
            }
        }
        Err(ProviderError::Malformed("the list of organisations does not end"))
    }

    async fn ask<T: DeserializeOwned>(&self, token: &SecretString, path: &str) -> Result<T, ProviderError> {
        let request = Request::get(format!("{}/{path}", self.api.as_str().trim_end_matches('/')))
            .header(header::ACCEPT, "application/vnd.github+json")
            .header("x-github-api-version", "2022-11-28")
            .header(header::AUTHORIZATION, format!("Bearer {}", token.expose_secret()))
            .body(Vec::new());
        self.answer(request).await
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        request: Result<Request<Vec<u8>>, http::Error>,
    ) -> Result<T, ProviderError> {
        let request = request.map_err(|_| ProviderError::Malformed("an address is not usable"))?;
        let answer = self.http.send(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(ProviderError::Failed(answer.status().as_u16()));
        }
        serde_json::from_slice(answer.body())
            .map_err(|_| ProviderError::Malformed("it is not the JSON expected"))
    }
}
