//! What a provider claims of a person, in the ID token and in its user info.
//!
//! Providers differ in which of the two they put an address or groups into. The token is read first; what it lacks
//! comes from the user info, which was asked for the same subject.

use super::super::{ExternalIdentity, ProviderError};
use openidconnect::{
    AdditionalClaims, EndUserName, IdTokenClaims, LocalizedClaim, UserInfoClaims, core::CoreGenderClaim,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The claims beyond the standard ones, among which the groups are.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Claims(Map<String, Value>);

impl AdditionalClaims for Claims {}

impl std::fmt::Debug for Claims {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Claims")
    }
}

/// What is known of a person so far.
pub(super) struct Person {
    subject: String,
    email: Option<String>,
    email_verified: bool,
    display_name: Option<String>,
    groups: Option<Vec<String>>,
}

impl Person {
    pub(super) fn from_token(
        claims: &IdTokenClaims<Claims, CoreGenderClaim>,
        group_claim: &str,
    ) -> Result<Self, ProviderError> {
        let user_name = claims.preferred_username().map(|name| name.to_string());
        Ok(Self {
            subject: claims.subject().to_string(),
            email: claims.email().map(|email| email.to_string()),
            email_verified: claims.email_verified().unwrap_or(false),
            display_name: name(claims.name()).or(user_name),
            groups: groups(claims.additional_claims(), group_claim)?,
        })
    }

    /// Whether the user info may know more.
    pub(super) fn lacks_something(&self) -> bool {
        self.email.is_none() || self.groups.is_none() || self.display_name.is_none()
    }

    /// Takes from the user info what the token did not say. An address comes with its own word on being verified.
    pub(super) fn add(
        &mut self,
        claims: Option<UserInfoClaims<Claims, CoreGenderClaim>>,
        group_claim: &str,
    ) -> Result<(), ProviderError> {
        let Some(claims) = claims else { return Ok(()) };
        if self.email.is_none() {
            self.email = claims.email().map(|email| email.to_string());
            self.email_verified = claims.email_verified().unwrap_or(false);
        }
        if self.display_name.is_none() {
            let user_name = claims.preferred_username().map(|name| name.to_string());
            self.display_name = name(claims.name()).or(user_name);
        }
        if self.groups.is_none() {
            self.groups = groups(claims.additional_claims(), group_claim)?;
        }
        Ok(())
    }

    pub(super) fn identity(self) -> Result<ExternalIdentity, ProviderError> {
        // OpenID Connect Core, section 2: at most 255 characters.
        if self.subject.is_empty() || self.subject.chars().count() > 255 {
            return Err(ProviderError::Malformed("its subject is empty or too long"));
        }
        Ok(ExternalIdentity {
            provider: String::new(),
            subject: self.subject,
            email: self.email,
            email_verified: self.email_verified,
            display_name: self.display_name.unwrap_or_default(),
            groups: self.groups.unwrap_or_default(),
        })
    }
}

fn name(name: Option<&LocalizedClaim<EndUserName>>) -> Option<String> {
    let (_, name) = name?.iter().next()?;
    Some(name.to_string())
}

/// The groups that the claim lists, or `None` when there is no such claim.
fn groups(claims: &Claims, claim: &str) -> Result<Option<Vec<String>>, ProviderError> {
    let Some(found) = find(&claims.0, claim) else {
        return left_out(&claims.0, claim).map(|()| None);
    };
    match found {
        Value::String(one) => Ok(Some(vec![one.clone()])),
        Value::Array(all) => {
            let names = all.iter().map(|value| value.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
            names.map(Some).ok_or(ProviderError::Malformed("its group claim is not a list of names"))
        }
        Value::Null => Ok(None),
        _ => Err(ProviderError::Malformed("its group claim is not a list of names")),
    }
}

/// The claim of this name, or at the end of this dotted path: names may have dots themselves.
fn find<'c>(claims: &'c Map<String, Value>, path: &str) -> Option<&'c Value> {
    claims.get(path).or_else(|| {
        let (first, rest) = path.split_once('.')?;
        find(claims.get(first)?.as_object()?, rest)
    })
}

/// A provider that leaves out the groups of somebody who is in too many must not seem to say that there are none.
fn left_out(claims: &Map<String, Value>, claim: &str) -> Result<(), ProviderError> {
    let named =
        claims.get("_claim_names").and_then(Value::as_object).is_some_and(|names| names.contains_key(claim));
    if named || claims.get("hasgroups") == Some(&Value::Bool(true)) {
        return Err(ProviderError::Malformed("it left the groups out, because there are too many"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(claims: Value, claim: &str) -> Result<Option<Vec<String>>, ProviderError> {
        groups(&serde_json::from_value(claims).unwrap(), claim)
    }

    #[test]
    fn groups_are_found_by_name_and_by_path() {
        let some = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        assert_eq!(read(json!({"groups": ["a", "b"]}), "groups").unwrap(), some(&["a", "b"]));
        assert_eq!(read(json!({"groups": "a"}), "groups").unwrap(), some(&["a"]));
        assert_eq!(read(json!({"realm": {"roles": ["a"]}}), "realm.roles").unwrap(), some(&["a"]));
        assert_eq!(read(json!({"https://a.b/c": ["a"]}), "https://a.b/c").unwrap(), some(&["a"]));
        assert_eq!(read(json!({"groups": []}), "groups").unwrap(), some(&[]));
        assert_eq!(read(json!({"roles": ["a"]}), "groups").unwrap(), None);
    }

    #[test]
    fn groups_that_are_no_names_or_were_left_out_are_not_taken_for_none() {
        assert!(read(json!({"groups": [1]}), "groups").is_err());
        assert!(read(json!({"groups": {"a": true}}), "groups").is_err());
        assert!(read(json!({"_claim_names": {"groups": "src1"}}), "groups").is_err());
        assert!(read(json!({"hasgroups": true}), "groups").is_err());
    }
}
