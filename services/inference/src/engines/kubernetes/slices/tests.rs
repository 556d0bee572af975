use super::*;
use serde_json::{Value, json};

fn slice(name: &str, kind: &str, endpoints: Value) -> Slice {
    let ports = json!([{"name": "http", "port": 8000, "protocol": "TCP"}, {"name": "", "port": 9}]);
    let text = json!({
        "metadata": {"name": name, "namespace": "llm", "resourceVersion": "7"},
        "addressType": kind,
        "endpoints": endpoints,
        "ports": ports,
    });
    serde_json::from_value(text).unwrap()
}

fn engines(slices: Vec<Slice>) -> Vec<(String, bool)> {
    let mut known = Slices::default();
    known.replace(slices);
    let found = known.engines(Scheme::Http, &Port::Name("http".into()));
    found.into_iter().map(|(url, leaving)| (url, leaving.is_none())).collect()
}

#[test]
fn every_ready_endpoint_is_an_engine_and_one_that_ends_leaves() {
    let endpoints = json!([
        {"addresses": ["10.0.0.1"], "conditions": {"ready": true, "serving": true, "terminating": false}},
        {"addresses": ["10.0.0.2"]},
        {"addresses": ["10.0.0.3"], "conditions": {"ready": false, "serving": true, "terminating": true}},
        {"addresses": ["10.0.0.4"], "conditions": {"ready": false, "serving": false, "terminating": true}},
        {"addresses": ["10.0.0.5"], "conditions": {"ready": false}},
        {"addresses": ["10.0.0.6"], "conditions": {"ready": true, "terminating": true}},
        {"addresses": []},
    ]);
    let said = [("1", true), ("2", true), ("3", false), ("4", false), ("5", false), ("6", false)];
    let expected = said.map(|(last, stays)| (format!("http://10.0.0.{last}:8000"), stays));
    assert_eq!(engines(vec![slice("a", "IPv4", endpoints)]), expected);
}

#[test]
fn a_pod_with_two_addresses_is_one_engine() {
    let pod = |address: &str| json!([{"addresses": [address], "targetRef": {"kind": "Pod", "uid": "u1"}}]);
    let both = vec![slice("a", "IPv6", pod("fd00::1")), slice("b", "IPv4", pod("10.0.0.1"))];
    assert_eq!(engines(both), [("http://10.0.0.1:8000".into(), true)]);
    let other = vec![slice("a", "IPv6", pod("fd00::1"))];
    assert_eq!(engines(other), [("http://[fd00::1]:8000".into(), true)]);
}

#[test]
fn slices_without_the_port_or_without_endpoints_hold_none() {
    let mut other = slice("a", "IPv4", json!([{"addresses": ["10.0.0.1"]}]));
    other.ports = None;
    assert_eq!(engines(vec![other, slice("b", "IPv4", Value::Null)]), []);
    let mut known = Slices::default();
    let mut numbered = slice("a", "IPv4", json!([{"addresses": ["10.0.0.1"]}]));
    numbered.ports = None;
    known.put(numbered);
    let found = known.engines(Scheme::Https, &Port::Number(8443));
    assert_eq!(found, [("https://10.0.0.1:8443".to_owned(), None)]);
    known.remove(&slice("a", "IPv4", Value::Null));
    assert!(known.engines(Scheme::Https, &Port::Number(8443)).is_empty());
}
