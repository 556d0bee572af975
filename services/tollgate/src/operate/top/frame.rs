//! The lines of a frame. Pure: what was found goes in, text comes out.

use super::ask::{Look, Numbers, What};
use serde_json::Value;
use std::collections::BTreeSet;

/// Rows of a part; there may be hundreds of engines.
const ROWS: usize = 12;
/// Characters of a name.
const NAME: usize = 36;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    /// It says what those below are.
    pub(super) head: bool,
}

/// What is shown before there is anything.
pub(super) fn waiting(title: &str) -> Vec<Line> {
    vec![head(title), row("waiting for monitoring; q ends".to_owned())]
}

/// Everything that was found.
pub(super) fn frame(title: &str, look: &Look) -> Vec<Line> {
    let left_out = if look.dropped > 0 { format!("  {} left out", look.dropped) } else { String::new() };
    let mut lines = vec![head(&format!("{title}  {}{left_out}", look.time))];
    for part in [models(look), queue_and_cache(look), engines(look), gpus(look), machines(look), alerts(look)]
    {
        lines.push(row(String::new()));
        lines.extend(part);
    }
    lines
}

fn models(look: &Look) -> Vec<Line> {
    let mut lines = vec![head(&format!(
        "{:<NAME$} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "MODEL", "REQ/S", "FAILED/S", "TOKENS/S", "GOODPUT/S", "TTFT P50", "P95", "TIME P50", "P95", "P99"
    ))];
    let columns = [
        (What::Requests, 8),
        (What::Failed, 8),
        (What::Tokens, 9),
        (What::Goodput, 9),
        (What::FirstTokenP50, 9),
        (What::FirstTokenP95, 9),
        (What::TimeP50, 9),
        (What::TimeP95, 9),
        (What::TimeP99, 9),
    ];
    let columns = columns.map(|(what, width)| (what, look.of(what), width));
    lines.extend(rows(columns.iter().map(|(_, numbers, _)| numbers), |group| {
        let cells = columns.iter().map(|(what, numbers, width)| {
            let number = numbers.get(group).copied();
            let cell = match what {
                What::Requests | What::Failed | What::Tokens | What::Goodput => amount(number),
                _ => time(number),
            };
            format!(" {cell:>width$}")
        });
        format!("{:<NAME$}{}", name(group), cells.collect::<String>())
    }));
    lines
}

fn queue_and_cache(look: &Look) -> Vec<Line> {
    let waiting = look.of(What::Queue);
    let classes = waiting.iter().map(|(class, waiting)| format!("{} {waiting:.0}", name(class)));
    let cache = look.of(What::Cache);
    let all: f64 = cache.values().sum();
    let missed = cache.get(["missed".to_owned()].as_slice()).copied().unwrap_or(0.0);
    let found = (all > 0.0).then(|| (all - missed) / all);
    let words = |words: String| if words.is_empty() { "-".to_owned() } else { words };
    vec![
        row(format!("QUEUE  {}", words(classes.collect::<Vec<_>>().join("  ")))),
        row(format!("CACHE  {} of {} requests/s", share(found), amount((!cache.is_empty()).then_some(all)))),
    ]
}

fn engines(look: &Look) -> Vec<Line> {
    let mut lines = vec![head(&format!(
        "{:<NAME$} {:>4} {:>9} {:>6} {:>8} {:>5}",
        "ENGINE", "UP", "IN FLIGHT", "LIMIT", "WAITING", "KV"
    ))];
    let [up, in_flight, limit, waiting, kv] =
        [What::EngineUp, What::InFlight, What::Limit, What::EngineQueue, What::KvUsage]
            .map(|what| look.of(what));
    lines.extend(rows([&up, &in_flight, &limit], |group| {
        let of = |numbers: &Numbers| numbers.get(group).copied();
        let up = of(&up).map_or("-", |up| if up > 0.0 { "yes" } else { "NO" });
        let [in_flight, limit, waiting] = [&in_flight, &limit, &waiting].map(|numbers| count(of(numbers)));
        format!("{:<NAME$} {up:>4} {in_flight:>9} {limit:>6} {waiting:>8} {:>5}", name(group), share(of(&kv)))
    }));
    lines
}

fn gpus(look: &Look) -> Vec<Line> {
    let [usage, memory, limit] =
        [What::GpuUsage, What::GpuMemory, What::GpuMemoryLimit].map(|what| look.of(what));
    let found = rows([&usage, &memory], |group| {
        let of = |numbers: &Numbers| numbers.get(group).copied();
        let used = of(&memory).zip(of(&limit).filter(|limit| *limit > 0.0)).map(|(used, limit)| used / limit);
        format!("{:<80} {:>5} {:>7}", clean(&group.join(" "), 80), share(of(&usage)), share(used))
    });
    let title = if found.is_empty() {
        "GPU  none reported".to_owned()
    } else {
        format!("{:<80} {:>5} {:>7}", "GPU", "BUSY", "MEMORY")
    };
    std::iter::once(head(&title)).chain(found).collect()
}

fn machines(look: &Look) -> Vec<Line> {
    let processors = look.of(What::Processors);
    let machines = processors
        .iter()
        .map(|(group, busy)| format!("{} {}", clean(&group.join(" "), 60), share(Some(*busy))));
    let machines: Vec<String> = machines.take(ROWS).collect();
    vec![row(format!(
        "PROCESSORS  {}",
        if machines.is_empty() { "-".to_owned() } else { machines.join("  ") }
    ))]
}

fn alerts(look: &Look) -> Vec<Line> {
    let Some(all) = &look.alerts else { return vec![head("ALERTS  cannot be read")] };
    let firing: Vec<&Value> = all.iter().filter(|alert| alert["state"] == "ALERT_STATE_FIRING").collect();
    if firing.is_empty() {
        return vec![head("ALERTS  none fires")];
    }
    let mut lines = vec![head(&format!("ALERTS  {} firing", firing.len()))];
    lines.extend(firing.iter().take(ROWS).map(|alert| {
        let severity = alert["severity"].as_str().unwrap_or_default().trim_start_matches("ALERT_SEVERITY_");
        let name = alert["labels"]["alertname"].as_str().unwrap_or("an alert");
        let said = alert["annotations"]["summary"].as_str().unwrap_or_default();
        row(format!("{severity:<9} {:<NAME$} {}", clean(name, NAME), clean(said, 100)).trim_end().to_owned())
    }));
    lines
}

/// A line for each group that any of the figures has, as far as there is room.
fn rows<'a>(
    figures: impl IntoIterator<Item = &'a Numbers>,
    line: impl Fn(&Vec<String>) -> String,
) -> Vec<Line> {
    let groups: BTreeSet<&Vec<String>> = figures.into_iter().flat_map(Numbers::keys).collect();
    let mut lines: Vec<Line> = groups.iter().take(ROWS).map(|group| row(line(group))).collect();
    if groups.len() > ROWS {
        lines.push(row(format!("and {} more", groups.len() - ROWS)));
    }
    lines
}

fn head(text: &str) -> Line {
    Line { text: text.trim_end().to_owned(), head: true }
}

const fn row(text: String) -> Line {
    Line { text, head: false }
}

fn name(group: &[String]) -> String {
    clean(&group.join(" "), NAME)
}

/// Text of others cannot steer the terminal.
fn clean(text: &str, most: usize) -> String {
    let text: String =
        text.chars().take(most).map(|letter| if letter.is_control() { '?' } else { letter }).collect();
    if text.is_empty() { "-".to_owned() } else { text }
}

fn amount(number: Option<f64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format!("{number:.2}"))
}

fn count(number: Option<f64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format!("{number:.0}"))
}

fn share(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0))
}

fn time(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(seconds) if seconds < 1.0 => format!("{:.0} ms", seconds * 1_000.0),
        Some(seconds) => format!("{seconds:.1} s"),
    }
}

#[cfg(test)]
mod tests;
