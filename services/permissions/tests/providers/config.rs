//! Settings of identity providers: every fault is named by its key, before anything starts.

use crate::site::{config, oidc};
use std::fs;

const ISSUER: &str = "https://login.example.org/realms/main";

fn github(extra: &str) -> String {
    format!(
        "[[identity_providers]]\nid = \"github\"\nkind = \"github\"\ndisplay_name = \"GitHub\"\nclient_id = \"x\"\n\
         client_secret.value = \"x\"\nredirect_uris = [\"https://tollgate.example.org/callback\"]\n{extra}\n"
    )
}

fn without_secret() -> String {
    oidc("corp", ISSUER, "")
        .lines()
        .filter(|line| !line.starts_with("client_secret"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The keys that are at fault.
fn keys(text: &str) -> Vec<String> {
    let faults = config(text).err().unwrap_or_default();
    faults.iter().map(|fault| fault.split(": ").next().unwrap().to_owned()).collect()
}

#[test]
fn good_settings_are_read() {
    assert_eq!(config(&oidc("corp", ISSUER, "")).unwrap().identity_providers.len(), 1);
    let two = oidc("corp", ISSUER, "") + &github("required_groups = [\"acme\"]");
    assert_eq!(config(&two).unwrap().identity_providers.len(), 2);
    let enterprise = "authorize_url = \"https://github.company.com/login/oauth/authorize\"";
    assert_eq!(keys(&github(enterprise)), [""; 0]);
    assert!(!keys(&without_secret()).is_empty(), "a field that is needed");
    assert_eq!(keys(&oidc("corp", "http://localhost:8080", "")), [""; 0]);
    assert_eq!(keys(&oidc("corp", "http://[::1]:8080", "")), [""; 0]);
}

#[test]
fn each_fault_names_its_key() {
    let at = |key: &str| vec![format!("permissions.identity_providers[0].{key}")];
    let corp = |extra: &str| oidc("corp", ISSUER, extra);
    let without = |key: &str| -> String {
        corp("").lines().filter(|line| !line.starts_with(key)).collect::<Vec<_>>().join("\n")
    };
    let cases = [
        (oidc("Corp", ISSUER, ""), "id"),
        (oidc(&"x".repeat(41), ISSUER, ""), "id"),
        (corp("").replace("The corp", " "), "display_name"),
        (oidc("corp", "http://login.example.org", ""), "issuer"),
        (oidc("corp", "http://127.0.0.1.example.org", ""), "issuer"),
        (oidc("corp", "login.example.org", ""), "issuer"),
        (oidc("corp", "https://user:pass@login.example.org", ""), "issuer"),
        (without("issuer"), "issuer"),
        (corp("token_url = \"https://x\""), "token_url"),
        (corp("default_role = \"owner\""), "default_role"),
        (corp("allowed_email_domains = [\"Example.org\"]"), "allowed_email_domains"),
        (corp("allowed_email_domains = [\"@example.org\"]"), "allowed_email_domains"),
        (corp("groups = { a = \" \" }"), "groups"),
        (corp("").replace(crate::idp::SECRET, ""), "client_secret"),
        (corp("").replace("client_secret.value = ", "client_secret.file = "), "client_secret"),
        (corp("").replace("http://127.0.0.1:9/callback", "http://example.org/callback"), "redirect_uris"),
        (corp("").replace("http://127.0.0.1:9/callback", "https://x/#a"), "redirect_uris"),
        (oidc("corp", "https://accounts.google.com", ""), "create_users"),
        (github(""), "create_users"),
        (github("create_users = false\nissuer = \"https://x\""), "issuer"),
        (github("create_users = false\napi_url = \"ftp://x\""), "api_url"),
    ];
    for (text, key) in cases {
        assert_eq!(keys(&text), at(key), "{text}");
    }
}

#[test]
fn two_providers_have_two_names() {
    let twice = oidc("corp", ISSUER, "") + &oidc("corp", ISSUER, "");
    assert_eq!(keys(&twice), ["permissions.identity_providers[1].id"]);
}

#[test]
fn a_secret_comes_from_a_file_and_an_authority_must_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    fs::write(&path, "from-a-file\n").unwrap();
    let text = oidc("corp", ISSUER, "");
    let line = format!("client_secret.value = \"{}\"", crate::idp::SECRET);
    let from_file = text.replace(&line, &format!("client_secret.file = \"{}\"", path.display()));
    assert_eq!(keys(&from_file), [""; 0]);
    let authority = format!("ca_file = \"{}\"", path.display());
    assert_eq!(keys(&oidc("corp", ISSUER, &authority)), ["permissions.identity_providers[0].ca_file"]);
}
