//! Rule files: the shipped one, and those of others.

use alerts::{Fault, Rule, RuleText, Severity, defaults, export, import};
use std::time::Duration;

#[test]
fn the_shipped_rules_have_the_severities_and_cooldowns_of_m4() {
    let rules = defaults().unwrap();
    let of = |name: &str| {
        let rule = Rule::try_from(rules.iter().find(|rule| rule.alert == name).unwrap()).unwrap();
        (rule.severity, rule.cooldown.as_secs() / 60, rule.pending)
    };
    assert_eq!(of("DatabaseDown"), (Severity::Critical, 5, Duration::ZERO));
    assert_eq!(of("DatabaseSlow"), (Severity::Warning, 15, Duration::ZERO));
    assert_eq!(of("CpuHigh"), (Severity::Error, 10, Duration::ZERO));
    assert_eq!(of("MemoryHigh"), (Severity::Error, 10, Duration::ZERO));
    assert_eq!(of("RedisDown"), (Severity::Error, 5, Duration::ZERO));
    for rule in &rules {
        let name = &rule.alert;
        assert!(
            rule.annotations.contains_key("summary") && rule.annotations.contains_key("runbook_url"),
            "{name}"
        );
        assert!(rule.labels.contains_key("severity"), "{name}");
    }
}

#[test]
fn the_file_for_prometheus_is_made_of_the_same_rules() {
    let rules = defaults().unwrap();
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../helm/rules.yml");
    let text = std::fs::read_to_string(shipped).unwrap_or_default();
    assert!(
        text == export(&rules),
        "helm/rules.yml is not what `cargo run -p alerts --example rules` prints"
    );
    let plain = |rule: &RuleText| {
        let expression: alerts::Expression = rule.expr.parse().unwrap();
        (
            rule.alert.clone(),
            expression.to_string(),
            rule.pending,
            rule.labels.clone(),
            rule.annotations.clone(),
        )
    };
    let read = import(&text).unwrap();
    assert_eq!(read.refused, []);
    assert_eq!(read.rules.iter().map(plain).collect::<Vec<_>>(), rules.iter().map(plain).collect::<Vec<_>>());
}

#[test]
fn a_file_of_others_is_taken_over_as_far_as_it_can_be() {
    let text = r#"
groups:
  - name: example
    interval: 30s
    rules:
      - record: job:requests:rate5m
        expr: sum by (job) (rate(http_requests_total[5m]))
      - alert: HighErrorRate
        expr: |
          sum by (job) (rate(http_requests_total{code=~"5.."}[5m]))
            / sum by (job) (rate(http_requests_total[5m])) > 0.05
        for: 10m
        labels:
          severity: critical
          team: edge
        annotations:
          summary: "{{ $labels.job }}: {{ $value | humanizePercentage }}"
      - alert: DiskWillFill
        expr: predict_linear(node_filesystem_free_bytes[6h], 4 * 3600) < 0
      - alert: Page
        expr: up == 0
        labels: {severity: page}
      - alert: Odd
        expr: up == 0
        for: soon
"#;
    let imported = import(text).unwrap();
    assert_eq!(imported.rules.len(), 1);
    let rule = Rule::try_from(&imported.rules[0]).unwrap();
    assert_eq!(
        (rule.name.as_str(), rule.severity, rule.pending.as_secs()),
        ("HighErrorRate", Severity::Critical, 600)
    );
    let refused: Vec<_> =
        imported.refused.iter().map(|one| (one.name.as_str(), one.fault.to_string())).collect();
    let expected = [
        ("job:requests:rate5m", "a recording rule is not supported here"),
        ("DiskWillFill", "the function `predict_linear` is not supported here"),
        ("Page", "severity must be info, warning, error or critical; it is `page`"),
        ("Odd", "the rule has a field that rules do not have, or a value that cannot be"),
    ];
    assert_eq!(refused, expected.map(|(name, fault)| (name, fault.to_owned())));
}

#[test]
fn what_is_no_rule_file_is_refused() {
    for text in ["groups: 5", "rules: []", "groups: [{rules: [}", "- a"] {
        assert!(matches!(import(text), Err(Fault::Invalid { .. })), "{text}");
    }
    assert!(import("groups: []").unwrap().rules.is_empty());
}

#[test]
fn rules_that_cannot_be_are_refused() {
    let good = RuleText { alert: "A".into(), expr: "x > 1".into(), ..RuleText::default() };
    assert!(Rule::try_from(&good).is_ok());
    let changes: [fn(&mut RuleText); 8] = [
        |rule| rule.alert.clear(),
        |rule| rule.alert = "a\nb".into(),
        |rule| rule.expr = "1 > 0".into(),
        |rule| rule.expr = "rate(x[90d]) > 0".into(),
        |rule| drop(rule.labels.insert("alertname".into(), "B".into())),
        |rule| drop(rule.labels.insert("1".into(), "B".into())),
        |rule| drop(rule.annotations.insert("summary".into(), "{{ range }}".into())),
        |rule| rule.expr = format!("x{{a=\"{}\"}}", "x".repeat(5_000)),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut rule = good.clone();
        change(&mut rule);
        assert!(Rule::try_from(&rule).is_err(), "change {number}");
    }
}
