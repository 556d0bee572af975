//! Settings of identity providers as a file has them, and the naming of every fault.

use super::settings::{GITHUB_AUTHORIZE, address};
use crate::field;
use openidconnect::url::Url;
use policy::Role;
use serde::Deserialize;
use shared::config::Secret;
use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
};

/// Hosts where anybody can have an account.
const OPEN_TO_ALL: [&str; 3] = ["github.com", "accounts.google.com", "gitlab.com"];

/// One table of `permissions.identity_providers`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityProvider {
    /// Short name in requests and in the store: small letters, digits and `-`. It must not change later.
    pub id: String,
    /// What it speaks.
    pub kind: Kind,
    /// Name on the sign-in page.
    pub display_name: String,
    /// OpenID Connect: the issuer, exactly as its discovery document says it.
    pub issuer: Option<String>,
    /// GitHub: where people sign in.
    pub authorize_url: Option<String>,
    /// GitHub: where codes are exchanged.
    pub token_url: Option<String>,
    /// GitHub: base of its REST API.
    pub api_url: Option<String>,
    /// What the provider calls this installation.
    pub client_id: String,
    /// What this installation proves itself with.
    pub client_secret: Secret,
    /// What is asked for; by kind when left out.
    pub scopes: Option<Vec<String>>,
    /// OpenID Connect: the claim that lists groups; a dotted path reaches into objects.
    #[serde(default = "group_claim")]
    pub group_claim: String,
    /// From a value of the group claim, or a GitHub organisation, to the name of a group here.
    #[serde(default)]
    pub groups: BTreeMap<String, String>,
    /// Whether groups are made that are not there yet, and values that `groups` does not name are groups as well.
    #[serde(default)]
    pub create_groups: bool,
    /// Values of the group claim, or organisations, of which one is needed to be let in. Empty: none is.
    #[serde(default)]
    pub required_groups: Vec<String>,
    /// Domains of e-mail addresses that are let in. Empty: all.
    #[serde(default)]
    pub allowed_email_domains: Vec<String>,
    /// Whether addresses count as verified although the provider does not say so.
    #[serde(default)]
    pub trust_email: bool,
    /// Whether somebody who has no account gets one.
    #[serde(default = "yes")]
    pub create_users: bool,
    /// Office of users made so.
    #[serde(default = "member")]
    pub default_role: Role,
    /// Where the provider may send people back to, exactly.
    pub redirect_uris: Vec<String>,
    /// Further certificate authorities, in PEM.
    pub ca_file: Option<PathBuf>,
}

/// What a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// OpenID Connect with discovery.
    Oidc,
    /// GitHub's OAuth 2.
    Github,
}

fn group_claim() -> String {
    "groups".to_owned()
}

const fn yes() -> bool {
    true
}

const fn member() -> Role {
    Role::Member
}

/// Names every fault of a list of providers, each beginning with its key.
pub(crate) fn validate(providers: &[IdentityProvider], faults: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for (number, provider) in providers.iter().enumerate() {
        let mut found = provider.faults();
        if !seen.insert(&provider.id) {
            found.push(("id", format!("`{}` is the name of another provider already", provider.id)));
        }
        if found.is_empty()
            && let Err(fault) = provider.settings().and_then(|settings| settings.http().map(drop))
        {
            found.push(fault);
        }
        let named = |(key, problem)| format!("permissions.identity_providers[{number}].{key}: {problem}");
        faults.extend(found.into_iter().map(named));
    }
}

/// A key of one provider, and what is wrong with it.
pub(super) type Fault = (&'static str, String);

impl IdentityProvider {
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut must = |holds: bool, key: &'static str, problem: &str| {
            if !holds {
                faults.push((key, problem.to_owned()));
            }
        };
        must(is_id(&self.id), "id", "must have 1 to 40 small letters, digits or `-`");
        must(is_name(&self.display_name), "display_name", "must have 1 to 100 characters on one line");
        must(!self.client_id.is_empty(), "client_id", "is needed");
        must(!self.redirect_uris.is_empty(), "redirect_uris", "needs at least one address");
        must(self.default_role != Role::Owner, "default_role", "must not be owner");
        must(self.groups.values().all(|name| is_name(name)), "groups", "must map to names of groups");
        must(
            self.allowed_email_domains.iter().all(|domain| is_domain(domain)),
            "allowed_email_domains",
            "must be domains in small letters, such as example.org",
        );
        for (key, value) in self.of_other_kind() {
            must(value.is_none(), key, "does not belong to this kind of provider");
        }
        must(
            !self.is_open_to_all(),
            "create_users",
            "anybody can have an account there: name required_groups or allowed_email_domains, or set it to false",
        );
        for uri in &self.redirect_uris {
            if let Err(problem) = address(uri) {
                faults.push(("redirect_uris", problem));
            }
        }
        faults
    }

    fn of_other_kind(&self) -> Vec<(&'static str, Option<&String>)> {
        match self.kind {
            Kind::Oidc => vec![
                ("authorize_url", self.authorize_url.as_ref()),
                ("token_url", self.token_url.as_ref()),
                ("api_url", self.api_url.as_ref()),
            ],
            Kind::Github => vec![("issuer", self.issuer.as_ref())],
        }
    }

    fn is_open_to_all(&self) -> bool {
        let unrestricted = self.required_groups.is_empty() && self.allowed_email_domains.is_empty();
        let address = match self.kind {
            Kind::Oidc => self.issuer.as_deref().unwrap_or_default(),
            Kind::Github => self.authorize_url.as_deref().unwrap_or(GITHUB_AUTHORIZE),
        };
        let host = Url::parse(address).ok().and_then(|url| url.host_str().map(str::to_owned));
        self.create_users && unrestricted && host.is_some_and(|host| OPEN_TO_ALL.contains(&host.as_str()))
    }
}

fn is_id(text: &str) -> bool {
    let letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    (1..=40).contains(&text.len()) && text.chars().all(letter)
}

fn is_name(text: &str) -> bool {
    field::name("name", text.to_owned()).is_ok()
}

fn is_domain(text: &str) -> bool {
    text == text.to_lowercase() && field::email("domain", format!("a@{text}")).is_ok()
}
