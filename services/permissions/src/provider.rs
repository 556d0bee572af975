//! Identity providers outside of this installation: whom they send back, and who that is.
//!
//! [`external`](crate::external) begins and completes a sign-in; here it is carried to the provider and back. What
//! leaves is an [`ExternalIdentity`], of which every claim was verified: by signature, issuer, audience, nonce and time
//! for OpenID Connect, by asking GitHub's API with the token of the exchange for GitHub.

mod config;
mod github;
mod http;
mod oidc;
mod settings;

pub(crate) use config::validate;
pub use config::{IdentityProvider, Kind};
pub(crate) use settings::{Rules, Settings};

use self::{github::Github, http::Http, http::HttpError, oidc::Oidc};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use policy::Time;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

/// Who somebody is, in the words of a provider.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ExternalIdentity {
    pub(crate) provider: String,
    /// What the provider calls this person, for ever.
    pub(crate) subject: String,
    pub(crate) email: Option<String>,
    pub(crate) email_verified: bool,
    pub(crate) display_name: String,
    /// Values of the group claim, or organisations.
    pub(crate) groups: Vec<String>,
}

impl std::fmt::Debug for ExternalIdentity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ExternalIdentity").field("provider", &self.provider).finish_non_exhaustive()
    }
}

/// What proves that the code which comes back belongs to a sign-in that was begun here.
#[derive(Debug, Clone)]
pub(crate) struct Proof {
    pub(crate) verifier: SecretString,
    pub(crate) nonce: SecretString,
}

impl Proof {
    pub(crate) fn random() -> Self {
        Self { verifier: secret(), nonce: secret() }
    }

    /// The proof as one text, to be kept encrypted.
    pub(crate) fn to_text(&self) -> SecretString {
        format!("{} {}", self.verifier.expose_secret(), self.nonce.expose_secret()).into()
    }

    pub(crate) fn from_text(text: &SecretString) -> Option<Self> {
        let (verifier, nonce) = text.expose_secret().split_once(' ')?;
        Some(Self { verifier: verifier.to_owned().into(), nonce: nonce.to_owned().into() })
    }
}

/// 256 random bits that fit in a URL.
pub(crate) fn secret() -> SecretString {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()).into()
}

/// Why nobody came back from a provider. Nothing here holds what a provider sent, but for its word for a refusal.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It did not answer.
    #[error("the identity provider cannot be reached at the moment; try again")]
    Unavailable(#[from] HttpError),
    /// It answered, with a failure of its own.
    #[error("the identity provider answered with HTTP status {0}; try again")]
    Failed(u16),
    /// What it answered is not what its protocol says.
    #[error("the identity provider's answer is not usable ({0}); tell an administrator")]
    Malformed(&'static str),
    /// It does not know this installation.
    #[error(
        "the identity provider does not accept this installation's client id or secret ({0}); tell an administrator"
    )]
    Client(String),
    /// It does not accept the code.
    #[error("the identity provider refused the sign-in ({0}); begin again")]
    Refused(String),
    /// What it says of the person is not proven.
    #[error("what the identity provider said could not be verified ({0}); begin again")]
    NotVerified(&'static str),
}

/// A provider that people can sign in with.
#[derive(Debug, Clone)]
pub(crate) struct Provider(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    protocol: Protocol,
}

#[derive(Debug)]
enum Protocol {
    Oidc(Box<Oidc>),
    Github(Box<Github>),
}

/// All of them, in the order of the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Providers(Arc<[Provider]>);

impl Providers {
    /// The configured providers. None of them is asked anything before the first sign-in.
    ///
    /// # Errors
    /// Every fault of the settings.
    pub(crate) fn new(configured: &[IdentityProvider]) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        validate(configured, &mut faults);
        if !faults.is_empty() {
            return Err(faults);
        }
        let all: Result<Vec<_>, String> = configured.iter().map(Provider::new).collect();
        all.map(|all| Self(all.into())).map_err(|fault| vec![fault])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.0.iter()
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Provider> {
        self.iter().find(|provider| provider.id() == id)
    }
}

impl Provider {
    fn new(configured: &IdentityProvider) -> Result<Self, String> {
        let named = |(key, problem)| format!("{}: {key}: {problem}", configured.id);
        let settings = configured.settings().map_err(named)?;
        let http = settings.http().map_err(named)?;
        let protocol = match &settings.place {
            settings::Place::Oidc(issuer) => {
                Protocol::Oidc(Oidc::new(&settings, issuer.clone(), http).into())
            }
            settings::Place::Github { authorize, token, api } => {
                let (authorize, token, api) = (authorize.clone(), token.clone(), api.clone());
                Protocol::Github(Github::new(&settings, authorize, token, api, http).into())
            }
        };
        Ok(Self(Arc::new(Inner { settings, protocol })))
    }

    pub(crate) fn id(&self) -> &str {
        &self.0.settings.id
    }

    pub(crate) fn kind(&self) -> Kind {
        self.0.settings.kind
    }

    pub(crate) fn display_name(&self) -> &str {
        &self.0.settings.display_name
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.0.settings.rules
    }

    /// Whether people may be sent back there.
    pub(crate) fn allows(&self, redirect_uri: &str) -> bool {
        self.0.settings.redirect_uris.iter().any(|allowed| allowed == redirect_uri)
    }

    /// Where to send a person's browser.
    pub(crate) async fn start(
        &self,
        redirect_uri: &str,
        state: &str,
        proof: &Proof,
        now: Time,
    ) -> Result<String, ProviderError> {
        match &self.0.protocol {
            Protocol::Oidc(oidc) => oidc.start(redirect_uri, state, proof, now).await,
            Protocol::Github(github) => Ok(github.start(redirect_uri, state, proof)),
        }
    }

    /// Who came back with `code`. `issuer` is who the answer says it is from, or empty.
    pub(crate) async fn complete(
        &self,
        code: &SecretString,
        issuer: &str,
        redirect_uri: &str,
        proof: &Proof,
        now: Time,
    ) -> Result<ExternalIdentity, ProviderError> {
        let person = match &self.0.protocol {
            Protocol::Oidc(oidc) => oidc.complete(code, issuer, redirect_uri, proof, now).await?,
            Protocol::Github(github) => github.complete(code, redirect_uri, proof).await?,
        };
        Ok(ExternalIdentity { provider: self.id().to_owned(), ..person })
    }
}

/// A provider's word for a refusal, when it is one word.
fn word(text: &str) -> String {
    let fits = text.len() <= 64 && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if fits { text.to_owned() } else { "no reason given".to_owned() }
}

/// What a refusal of the token endpoint means.
pub(crate) fn refusal(error: &str) -> ProviderError {
    match error {
        "invalid_client" | "unauthorized_client" | "incorrect_client_credentials" => {
            ProviderError::Client(word(error))
        }
        _ => ProviderError::Refused(word(error)),
    }
}
