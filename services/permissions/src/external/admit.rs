//! Whether a provider's rules let somebody in, and which groups here its words mean.

use crate::{
    error::SignInError,
    field,
    provider::{ExternalIdentity, Rules},
};
use std::collections::BTreeSet;

/// Most characters of a name that is taken over.
const NAME: usize = 100;

/// Somebody whom the rules let in.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) provider: String,
    pub(super) subject: String,
    /// Verified, and of the shape that addresses have here.
    pub(super) email: Option<Email>,
    pub(super) display_name: String,
    /// Names of groups here.
    pub(super) groups: BTreeSet<String>,
}

/// An address that is in no log.
pub(super) struct Email(pub(super) String);

impl std::fmt::Debug for Email {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Email")
    }
}

impl Admitted {
    pub(super) fn new(person: ExternalIdentity, rules: &Rules) -> Result<Self, SignInError> {
        let verified = person.email_verified || rules.trust_email;
        let email = person.email.filter(|_| verified).and_then(|email| field::email("email", email).ok());
        domain_is_allowed(email.as_deref(), rules)?;
        let required = &rules.required_groups;
        if !required.is_empty() && !person.groups.iter().any(|group| required.contains(group)) {
            return Err(SignInError::GroupRequired);
        }
        let display_name = display_name(&person.display_name, email.as_deref());
        Ok(Self {
            provider: person.provider,
            subject: person.subject,
            email: email.map(Email),
            display_name,
            groups: person.groups.iter().filter_map(|value| group(value, rules)).collect(),
        })
    }
}

fn domain_is_allowed(email: Option<&str>, rules: &Rules) -> Result<(), SignInError> {
    if rules.allowed_email_domains.is_empty() {
        return Ok(());
    }
    let (_, domain) = email.and_then(|email| email.rsplit_once('@')).ok_or(SignInError::EmailNotVerified)?;
    let domain = domain.to_lowercase();
    if rules.allowed_email_domains.contains(&domain) { Ok(()) } else { Err(SignInError::EmailDomain) }
}

/// The group that a value means, or `None` when it means none.
fn group(value: &str, rules: &Rules) -> Option<String> {
    let mapped = rules.groups.get(value).cloned();
    let named = || rules.create_groups.then(|| field::name("group", value.to_owned()).ok()).flatten();
    mapped.or_else(named)
}

/// A name of one clean line: the provider's, or else the first part of the address.
fn display_name(name: &str, email: Option<&str>) -> String {
    let clean = |text: &str| -> Option<String> {
        let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(NAME).collect();
        field::name("display_name", text.trim().to_owned()).ok()
    };
    let local = email.and_then(|email| email.split('@').next());
    clean(name).or_else(|| clean(local?)).unwrap_or_else(|| "Unnamed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::Role;
    use std::collections::BTreeMap;

    fn rules() -> Rules {
        Rules {
            groups: BTreeMap::from([("eng".to_owned(), "Engineering".to_owned())]),
            create_groups: false,
            required_groups: Vec::new(),
            allowed_email_domains: Vec::new(),
            trust_email: false,
            create_users: true,
            default_role: Role::Member,
        }
    }

    fn ana() -> ExternalIdentity {
        ExternalIdentity {
            provider: "corp".to_owned(),
            subject: "1".to_owned(),
            email: Some("ana@example.org".to_owned()),
            email_verified: true,
            display_name: "Ana".to_owned(),
            groups: vec!["eng".to_owned(), "sales".to_owned()],
        }
    }

    #[test]
    fn only_mapped_groups_count_unless_groups_are_made() {
        let mapped = Admitted::new(ana(), &rules()).unwrap();
        assert_eq!(mapped.groups, BTreeSet::from(["Engineering".to_owned()]));
        let all = Admitted::new(ana(), &Rules { create_groups: true, ..rules() }).unwrap();
        assert_eq!(all.groups, BTreeSet::from(["Engineering".to_owned(), "sales".to_owned()]));
        let odd = ExternalIdentity { groups: vec!["a\nb".to_owned(), String::new()], ..ana() };
        assert!(Admitted::new(odd, &Rules { create_groups: true, ..rules() }).unwrap().groups.is_empty());
    }

    #[test]
    fn an_address_counts_when_somebody_vouches_for_it() {
        let unverified = || ExternalIdentity { email_verified: false, ..ana() };
        assert!(Admitted::new(unverified(), &rules()).unwrap().email.is_none());
        let trusting = Rules { trust_email: true, ..rules() };
        assert!(Admitted::new(unverified(), &trusting).unwrap().email.is_some());
        let odd = ExternalIdentity { email: Some("no address".to_owned()), ..ana() };
        assert!(Admitted::new(odd, &rules()).unwrap().email.is_none());
    }

    #[test]
    fn domains_and_groups_keep_others_out() {
        let here = Rules { allowed_email_domains: vec!["example.org".to_owned()], ..rules() };
        let shouted = ExternalIdentity { email: Some("ana@EXAMPLE.org".to_owned()), ..ana() };
        assert!(Admitted::new(shouted, &here).is_ok());
        for address in ["ana@evil-example.org", "ana@example.org.evil.net", "ana@sub.example.org"] {
            let other = ExternalIdentity { email: Some(address.to_owned()), ..ana() };
            assert!(matches!(Admitted::new(other, &here), Err(SignInError::EmailDomain)), "{address}");
        }
        let unverified = ExternalIdentity { email_verified: false, ..ana() };
        assert!(matches!(Admitted::new(unverified, &here), Err(SignInError::EmailNotVerified)));
        let chosen = |group: &str| Rules { required_groups: vec![group.to_owned()], ..rules() };
        assert!(Admitted::new(ana(), &chosen("sales")).is_ok());
        assert!(matches!(Admitted::new(ana(), &chosen("board")), Err(SignInError::GroupRequired)));
    }

    #[test]
    fn names_are_made_fit() {
        assert_eq!(display_name("  Ana \n  B. ", None), "Ana B.");
        assert_eq!(display_name("", Some("ana@example.org")), "ana");
        assert_eq!(display_name("a\u{202e}b", Some("ana@example.org")), "ana");
        assert_eq!(display_name(&"x".repeat(300), None).len(), NAME);
        assert_eq!(display_name("", None), "Unnamed");
    }
}
