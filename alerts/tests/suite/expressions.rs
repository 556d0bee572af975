//! What expressions mean, and which are refused.

use crate::{NOON, labels, until_noon};
use alerts::{Expression, Fault, Labels, Memory, evaluate};
use proptest::prelude::*;

fn found(memory: &Memory, text: &str) -> Vec<(Labels, f64)> {
    let expression: Expression = text.parse().unwrap();
    let mut series = evaluate(&expression, memory, NOON).series;
    series.sort_by(|one, other| one.0.cmp(&other.0));
    series
}

/// The values alone.
fn values(memory: &Memory, text: &str) -> Vec<f64> {
    found(memory, text).into_iter().map(|(_, value)| value).collect()
}

fn sample() -> Memory {
    let mut memory = Memory::default();
    until_noon(&mut memory, "load", &[("host", "a"), ("zone", "x")], &[1.0, 2.0, 6.0]);
    until_noon(&mut memory, "load", &[("host", "b"), ("zone", "x")], &[5.0, 5.0, 8.0]);
    until_noon(&mut memory, "load", &[("host", "c"), ("zone", "y")], &[2.0, 2.0, 2.0]);
    until_noon(&mut memory, "calls", &[("host", "a")], &[100.0, 160.0, 10.0, 40.0]);
    until_noon(&mut memory, "fails", &[("host", "a")], &[0.0, 6.0, 6.0, 16.0]);
    for (bound, count) in [("0.1", 50.0), ("0.5", 90.0), ("1", 100.0), ("+Inf", 100.0)] {
        until_noon(&mut memory, "wait_bucket", &[("le", bound), ("host", "a")], &[0.0, count]);
    }
    memory
}

#[test]
fn selectors_and_windows() {
    let memory = sample();
    for (text, expected) in [
        ("load", vec![6.0, 8.0, 2.0]),
        (r#"load{host="a"}"#, vec![6.0]),
        (r#"load{host=~"a|b", zone!="y"}"#, vec![6.0, 8.0]),
        (r#"load{host!~"a|b"}"#, vec![2.0]),
        ("nobody", vec![]),
        ("avg_over_time(load[20s])", vec![3.0, 6.0, 2.0]),
        ("min_over_time(load[1m])", vec![1.0, 5.0, 2.0]),
        ("max_over_time(load[1m])", vec![6.0, 8.0, 2.0]),
        ("sum_over_time(load[10s])", vec![8.0, 13.0, 4.0]),
        ("count_over_time(load[1h])", vec![3.0; 3]),
        ("last_over_time(load[1h])", vec![6.0, 8.0, 2.0]),
        // 60 until it began anew, 10 since, 30 more.
        ("increase(calls[30s])", vec![100.0]),
        ("rate(calls[10s])", vec![3.0]),
        ("rate(calls[1s])", vec![]),
    ] {
        assert_eq!(values(&memory, text), expected, "{text}");
    }
}

#[test]
fn groups_quantiles_and_arithmetic() {
    let memory = sample();
    for (text, expected) in [
        ("sum(load)", vec![16.0]),
        ("avg by (zone) (load)", vec![7.0, 2.0]),
        ("max without (host) (load)", vec![8.0, 2.0]),
        ("min(load) by (zone)", vec![6.0, 2.0]),
        ("count(load > 5)", vec![2.0]),
        ("count(load > 50)", vec![]),
        ("histogram_quantile(0.5, wait_bucket)", vec![0.1]),
        ("histogram_quantile(0.95, sum by (le) (wait_bucket))", vec![0.75]),
        ("increase(fails[30s]) / increase(calls[30s])", vec![0.16]),
        ("load / 2 + 1", vec![4.0, 5.0, 2.0]),
        ("1 - load", vec![-5.0, -7.0, -1.0]),
        ("-load", vec![-6.0, -8.0, -2.0]),
        ("2 + 3 * 4 < load", vec![]),
        ("load > 2 and load < 8", vec![6.0]),
        ("load unless load > 2", vec![2.0]),
        ("load > 7 or load < 3", vec![8.0, 2.0]),
        ("5 < load", vec![6.0, 8.0]),
        ("load != 8", vec![6.0, 2.0]),
        ("absent(load)", vec![]),
        ("absent(nobody)", vec![1.0]),
        ("vector(1)", vec![1.0]),
        ("calls - time() < -1e9", vec![40.0 - 1_778_846_400.0]),
        ("load / 0 > 1e300", vec![f64::INFINITY; 3]),
        ("(load - load) / 0 >= 0", vec![]),
    ] {
        assert_eq!(values(&memory, text), expected, "{text}");
    }
    assert_eq!(found(&memory, "avg by (zone) (load)")[0].0, labels(&[("zone", "x")]));
}

#[test]
fn nothing_is_seen_where_there_are_no_samples() {
    let memory = sample();
    let seen = |text: &str| evaluate(&text.parse().unwrap(), &memory, NOON).seen;
    assert!(seen("load > 100") && seen("vector(1)") && seen("nobody or load"));
    assert!(!seen("nobody > 1") && !seen("absent(nobody)"));
    let later = NOON.plus(alerts::LOOKBACK * 2);
    assert!(!evaluate(&"load".parse().unwrap(), &memory, later).seen, "what is old is gone");
}

#[test]
fn what_promql_has_and_this_does_not_is_named() {
    for (text, named) in [
        ("predict_linear(x[1h], 60)", "`predict_linear`"),
        ("topk(3, x)", "`topk`"),
        ("x offset 5m", "`offset`"),
        ("x @ 5", "`@`"),
        ("a / on (host) b", "`on`"),
        ("a * ignoring (host) b", "`ignoring`"),
        ("a > bool 1", "`bool`"),
        ("avg_over_time(rate(x[5m])[1h:1m])", "window over anything"),
        ("avg_over_time((x)[1h:1m])", "window over anything"),
        ("max_over_time(x[1h:1m])", "subquery"),
        ("{__name__=~\"x.*\"}", "selector without a name"),
        ("x % 2", "`%`"),
        ("x ^ 2", "`^`"),
    ] {
        match text.parse::<Expression>() {
            Err(Fault::Unsupported(what)) => assert!(what.contains(named), "{text}: {what}"),
            other => unreachable!("{text}: {other:?}"),
        }
    }
}

#[test]
fn what_is_no_expression_is_refused() {
    let deep = format!("{}x{}", "(".repeat(100), ")".repeat(100));
    for text in [
        "",
        "x >",
        "(x",
        "x)",
        "rate(x)",
        "x[5m]",
        "rate(x[])",
        "rate(x[0s])",
        "rate(x[5])",
        "sum by zone (x)",
        "x{a}",
        "x{a=\"b}",
        "x{a=~\"(\"}",
        "sum(1)",
        "histogram_quantile(x, y)",
        "1 and x",
        "vector(x)",
        "x y",
        deep.as_str(),
        "é",
    ] {
        assert!(text.parse::<Expression>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[a-z_(){}\\[\\]=~!<>+*/, \"0-9mé-]{0,60}") {
        if let Ok(expression) = text.parse::<Expression>() {
            let written = expression.to_string();
            prop_assert_eq!(written.parse::<Expression>(), Ok(expression), "{}", written);
        }
    }

    #[test]
    fn what_is_written_is_read_back(parts in prop::collection::vec((0..13_usize, 0..6_usize), 1..6)) {
        let operators = ["or", "and", "unless", "==", "!=", ">=", "<=", ">", "<", "+", "-", "*", "/"];
        let terms = ["x", "rate(y{a=\"b\"}[5m])", "sum by (c) (z)", "absent(x)", "(x + y)", "histogram_quantile(0.9, h)"];
        let text = parts.iter().fold("x".to_owned(), |text, (operator, term)| {
            format!("{text} {} {}", operators[*operator], terms[*term])
        });
        let expression: Expression = text.parse().unwrap();
        prop_assert_eq!(expression.to_string().parse::<Expression>(), Ok(expression));
    }
}
