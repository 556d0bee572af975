//! A provider's settings once every fault was named: addresses parsed, secrets read, defaults in their places.

use super::{
    config::{Fault, IdentityProvider, Kind},
    http::{Http, is_local},
};
use openidconnect::{IssuerUrl, url::Url};
use policy::Role;
use secrecy::{ExposeSecret, SecretString};
use std::{collections::BTreeMap, path::PathBuf};

/// Where people sign in at GitHub itself.
pub(super) const GITHUB_AUTHORIZE: &str = "https://github.com/login/oauth/authorize";

/// A provider's settings after all checks.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) display_name: String,
    pub(crate) place: Place,
    pub(crate) client_id: String,
    pub(crate) client_secret: SecretString,
    pub(crate) scopes: Vec<String>,
    pub(crate) group_claim: String,
    pub(crate) redirect_uris: Vec<String>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) rules: Rules,
}

/// Where a provider is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Oidc(IssuerUrl),
    Github { authorize: Url, token: Url, api: Url },
}

/// Who is let in, and as what.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) groups: BTreeMap<String, String>,
    pub(crate) create_groups: bool,
    pub(crate) required_groups: Vec<String>,
    pub(crate) allowed_email_domains: Vec<String>,
    pub(crate) trust_email: bool,
    pub(crate) create_users: bool,
    pub(crate) default_role: Role,
}

impl IdentityProvider {
    /// What is made of the settings.
    ///
    /// # Errors
    /// The first fault of those that depend on more than their own text.
    pub(crate) fn settings(&self) -> Result<Settings, Fault> {
        let secret = self.client_secret.read().map_err(|fault| ("client_secret", fault))?;
        let secret = secret.filter(|secret| !secret.expose_secret().is_empty());
        let scopes = self.scopes.clone().unwrap_or_else(|| default_scopes(self.kind));
        Ok(Settings {
            id: self.id.clone(),
            kind: self.kind,
            display_name: self.display_name.clone(),
            place: self.place()?,
            client_id: self.client_id.clone(),
            client_secret: secret
                .ok_or_else(|| ("client_secret", "is needed: .file or .value".to_owned()))?,
            scopes,
            group_claim: self.group_claim.clone(),
            redirect_uris: self.redirect_uris.clone(),
            ca_file: self.ca_file.clone(),
            rules: Rules {
                groups: self.groups.iter().map(|(value, group)| (self.value(value), group.clone())).collect(),
                create_groups: self.create_groups,
                required_groups: self.required_groups.iter().map(|value| self.value(value)).collect(),
                allowed_email_domains: self.allowed_email_domains.clone(),
                trust_email: self.trust_email,
                create_users: self.create_users,
                default_role: self.default_role,
            },
        })
    }

    /// A group as the provider names it: GitHub's organisations are the same in any case.
    fn value(&self, text: &str) -> String {
        if self.kind == Kind::Github { text.to_lowercase() } else { text.to_owned() }
    }

    fn place(&self) -> Result<Place, Fault> {
        let url = |key: &'static str, value: &Option<String>, default: &str| {
            address(value.as_deref().unwrap_or(default)).map_err(|problem| (key, problem))
        };
        match self.kind {
            Kind::Oidc => {
                let issuer = self.issuer.clone().unwrap_or_default();
                address(&issuer).map_err(|problem| ("issuer", problem))?;
                let issuer = IssuerUrl::new(issuer).map_err(|error| ("issuer", error.to_string()))?;
                Ok(Place::Oidc(issuer))
            }
            Kind::Github => Ok(Place::Github {
                authorize: url("authorize_url", &self.authorize_url, GITHUB_AUTHORIZE)?,
                token: url("token_url", &self.token_url, "https://github.com/login/oauth/access_token")?,
                api: url("api_url", &self.api_url, "https://api.github.com")?,
            }),
        }
    }
}

impl Settings {
    /// The client that speaks with this provider.
    pub(crate) fn http(&self) -> Result<Http, Fault> {
        Http::new(self.ca_file.as_deref(), self.is_plain()).map_err(|problem| ("ca_file", problem))
    }

    /// Whether the provider is on this machine and not asked over TLS.
    fn is_plain(&self) -> bool {
        match &self.place {
            Place::Oidc(issuer) => issuer.url().scheme() == "http",
            Place::Github { token, .. } => token.scheme() == "http",
        }
    }
}

fn default_scopes(kind: Kind) -> Vec<String> {
    let scopes: &[&str] = match kind {
        Kind::Oidc => &["email", "profile"],
        Kind::Github => &["read:user", "user:email", "read:org"],
    };
    scopes.iter().map(|&scope| scope.to_owned()).collect()
}

/// An absolute address: https, or http of this machine, without what could hide another one.
pub(super) fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| format!("`{text}` is not an absolute https address"))?;
    if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err("must have no fragment, user or password".to_owned());
    }
    if url.scheme() == "https" || (url.scheme() == "http" && is_local(&url)) {
        return Ok(url);
    }
    Err(format!("`{text}` must begin with https://; http is for this machine alone"))
}
