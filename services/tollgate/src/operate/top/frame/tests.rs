use super::*;
use serde_json::json;

fn texts(look: &Look) -> Vec<String> {
    frame("title", look).into_iter().map(|line| line.text).collect()
}

/// An answer with these series for the question of this number.
fn look(found: &[(usize, Value)], alerts: Option<Vec<Value>>) -> Look {
    let mut answers = vec![json!({}); 20];
    for (at, series) in found {
        answers[*at] = json!({ "series": series });
    }
    Look::read(&json!({ "time": "2026-01-01T00:00:00Z", "dropped": 2, "answers": answers }), alerts)
}

fn series(labels: &Value, value: f64) -> Value {
    json!({ "labels": labels, "points": [{ "time": "2026-01-01T00:00:00Z", "value": value }] })
}

#[test]
fn what_was_found_is_in_its_place_and_what_was_not_is_a_dash() {
    let model = json!({ "gen_ai_request_model": "tiny" });
    let engine = json!({ "engine": "http://engine:8000" });
    let gpu = json!({ "engine": "http://engine:8000", "hw_id": "GPU-1" });
    let found = [
        (0, json!([series(&model, 12.345)])),
        (4, json!([series(&model, 0.0123)])),
        (8, json!([series(&model, 1.25)])),
        (9, json!([series(&json!({ "tollgate_class": "batch" }), 3.0)])),
        (11, json!([series(&engine, 16.0)])),
        (12, json!([series(&engine, 1.0)])),
        (14, json!([series(&engine, 0.25)])),
        (15, json!([series(&gpu, 0.87)])),
        (16, json!([series(&gpu, 5.0)])),
        (17, json!([series(&gpu, 20.0)])),
        (18, json!([series(&json!({ "found": "missed" }), 3.0), series(&json!({ "found": "exact" }), 1.0)])),
    ];
    let alert = json!({
        "state": "ALERT_STATE_FIRING", "severity": "ALERT_SEVERITY_CRITICAL",
        "labels": { "alertname": "EngineDown" }, "annotations": { "summary": "an engine\u{1b}[2J is down" },
    });
    let pending = json!({ "state": "ALERT_STATE_PENDING", "labels": { "alertname": "Later" } });
    let lines = texts(&look(&found, Some(vec![alert, pending])));
    let words = |begin: &str| -> Vec<&str> {
        let line = lines.iter().find(|line| line.starts_with(begin)).unwrap();
        line.split_ascii_whitespace().collect()
    };
    assert_eq!(lines[0], "title  2026-01-01T00:00:00Z  2 left out");
    assert_eq!(words("tiny"), ["tiny", "12.35", "-", "-", "-", "12", "ms", "-", "-", "-", "1.2", "s"]);
    assert_eq!(words("QUEUE"), ["QUEUE", "batch", "3"]);
    assert_eq!(words("CACHE"), ["CACHE", "25", "%", "of", "4.00", "requests/s"]);
    assert_eq!(words("http://engine:8000  "), ["http://engine:8000", "yes", "-", "16", "-", "25", "%"]);
    assert_eq!(words("http://engine:8000 GPU-1"), ["http://engine:8000", "GPU-1", "87", "%", "25", "%"]);
    assert_eq!(words("ALERTS"), ["ALERTS", "1", "firing"]);
    assert_eq!(words("CRITICAL")[..2], ["CRITICAL", "EngineDown"]);
    assert!(lines.iter().all(|line| !line.chars().any(char::is_control)), "{lines:?}");
}

#[test]
fn nothing_found_is_said_and_is_not_zero() {
    let lines = texts(&look(&[], None));
    for expected in ["QUEUE  -", "CACHE  - of - requests/s", "GPU  none reported", "ALERTS  cannot be read"] {
        assert!(lines.iter().any(|line| line == expected), "{expected}: {lines:?}");
    }
    assert!(texts(&look(&[], Some(vec![]))).iter().any(|line| line == "ALERTS  none fires"));
}

#[test]
fn many_engines_are_cut_and_counted() {
    let engines: Vec<Value> =
        (0..30).map(|at| series(&json!({ "engine": format!("e{at:02}") }), 1.0)).collect();
    let lines = texts(&look(&[(12, json!(engines))], None));
    assert_eq!(lines.iter().filter(|line| line.starts_with('e')).count(), ROWS);
    assert!(lines.iter().any(|line| line == "and 18 more"), "{lines:?}");
}
