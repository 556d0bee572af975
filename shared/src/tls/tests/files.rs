//! Files that cannot be used: each fault names its setting and says what to do.

use super::*;
use ::tests::authority::When;

#[track_caller]
fn fault(config: &Config, setting: &str, words: &str) {
    let mut faults = Vec::new();
    config.validate(&mut faults);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].starts_with(setting) && faults[0].contains(words), "{faults:?}");
}

#[test]
fn good_files_have_no_faults() {
    let place = Place::new();
    let mut faults = Vec::new();
    let services = place.trust_as(&place.own);
    Config { services, admin: true, edge_client_ca_file: Some(place.ca.clone()), ..place.mutual() }
        .validate(&mut faults);
    Config::default().validate(&mut faults);
    assert_eq!(faults, [""; 0]);
}

#[test]
fn a_missing_file_is_named_by_its_setting() {
    let place = Place::new();
    let missing = Some(place.folder.path().join("missing.pem"));
    let words = "missing.pem: No such file";
    fault(&Config { cert_file: missing.clone(), ..place.config() }, "tls.cert_file: ", words);
    fault(&Config { key_file: missing.clone(), ..place.config() }, "tls.key_file: ", words);
    fault(&Config { client_ca_file: missing.clone(), ..place.config() }, "tls.client_ca_file: ", words);
    let edge = Config { edge_client_ca_file: missing.clone(), ..place.config() };
    fault(&edge, "tls.edge_client_ca_file: ", words);
    let services = Trust { ca_file: missing, ..Trust::default() };
    fault(&Config { services, ..place.config() }, "tls.services.ca_file: ", words);
}

#[test]
fn what_belongs_together_must_be_there_together() {
    let place = Place::new();
    fault(&Config { key_file: None, ..place.config() }, "tls.key_file: ", "tls.cert_file");
    fault(&Config { cert_file: None, ..place.config() }, "tls.cert_file: ", "tls.key_file");
    let alone = Config { client_ca_file: Some(place.ca.clone()), ..Config::default() };
    fault(&alone, "tls.client_ca_file: ", "tls.cert_file");
    fault(&Config { admin: true, ..Config::default() }, "tls.admin: ", "tls.cert_file");
    let services = Trust { cert_file: Some(place.own.certificate.clone()), ..Trust::default() };
    fault(&Config { services, ..place.config() }, "tls.services.key_file: ", "tls.services.cert_file");
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let place = Place::new();
    let other = place.authority.issue(&["localhost"]).write(place.folder.path(), "other");
    fault(&Config { key_file: Some(other.key), ..place.config() }, "tls.key_file: ", "does not belong");
}

#[test]
fn what_is_no_pem_or_the_wrong_kind_of_it_is_refused() {
    let place = Place::new();
    let text = place.folder.path().join("text");
    std::fs::write(&text, "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n").unwrap();
    fault(&Config { cert_file: Some(text.clone()), ..place.config() }, "tls.cert_file: ", "is not PEM");
    std::fs::write(&text, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    fault(&Config { cert_file: Some(text.clone()), ..place.config() }, "tls.cert_file: ", "X.509");
    fault(&Config { client_ca_file: Some(text), ..place.config() }, "tls.client_ca_file: ", "X.509");
    let swapped = Some(place.own.certificate.clone());
    fault(&Config { key_file: swapped, ..place.config() }, "tls.key_file: ", "private key");
    let swapped = Some(place.own.key.clone());
    fault(&Config { cert_file: swapped, ..place.config() }, "tls.cert_file: ", "no certificate");
}

#[test]
fn certificates_out_of_their_time_are_refused() {
    let place = Place::new();
    let folder = place.folder.path();
    for (when, words) in
        [(When::Past, "expired on 2021-01-01"), (When::Future, "not valid before 2089-01-01")]
    {
        let own = place.authority.issue_for(&["localhost"], when).write(folder, "untimely");
        let config = Config { cert_file: Some(own.certificate), key_file: Some(own.key), ..place.config() };
        fault(&config, "tls.cert_file: ", words);
        let ca = Some(Authority::of("Untimely", when).write(folder, "untimely-ca"));
        fault(&Config { client_ca_file: ca.clone(), ..place.config() }, "tls.client_ca_file: ", words);
        let services = Trust { ca_file: ca, ..Trust::default() };
        fault(&Config { services, ..place.config() }, "tls.services.ca_file: ", words);
    }
}

#[test]
fn an_expired_authority_beside_a_good_one_is_left_out() {
    let place = Place::new();
    let both = format!("{}{}", Authority::of("Old", When::Past).pem, place.authority.pem);
    std::fs::write(&place.ca, both).unwrap();
    let mut reader = read::Reader::new(crate::time::now());
    let store = reader.authorities("tls.client_ca_file", Some(&place.ca)).unwrap().unwrap();
    assert_eq!(store.len(), 1);
}

#[test]
fn a_server_name_must_be_one() {
    let place = Place::new();
    let services = Trust { server_name: Some("not a name".to_owned()), ..place.trust() };
    fault(&Config { services, ..place.config() }, "tls.services.server_name: ", "`not a name`");
}
