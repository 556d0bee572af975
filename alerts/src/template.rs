//! Annotations: sentences with the labels and the value of the alert in them.

use crate::{duration::format_duration, fault::Fault, labels::Labels};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, time::Duration};

/// A sentence with gaps: `{{ $labels.NAME }}`, `{{ $value }}`, and `{{ $value | FORMAT }}` with the formats
/// `humanize`, `humanizePercentage` and `humanizeDuration`, as Prometheus writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Label(String),
    Value(Format),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Plain,
    Short,
    Percentage,
    Duration,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// When a gap is none of these, or does not end.
    pub fn new(text: impl Into<String>) -> Result<Self, Fault> {
        let text = text.into();
        let (mut parts, mut rest) = (Vec::new(), text.as_str());
        while let Some((before, gap)) = rest.split_once("{{") {
            let (inside, after) = gap
                .split_once("}}")
                .ok_or_else(|| Fault::invalid("annotations", "have a `{{` without `}}`"))?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(part(inside.trim())?);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self { text, parts })
    }

    /// The sentence for an alert.
    #[must_use]
    pub fn fill(&self, labels: &Labels, value: f64) -> String {
        let filled = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Label(name) => labels.get(name).to_owned(),
            Part::Value(format) => format.of(value),
        });
        filled.collect()
    }
}

fn part(inside: &str) -> Result<Part, Fault> {
    if let Some(name) = inside.strip_prefix("$labels.") {
        if crate::matcher::is_label_name(name) {
            return Ok(Part::Label(name.to_owned()));
        }
    } else if let Some(format) = inside.strip_prefix("$value") {
        let format = format.trim();
        match format.strip_prefix('|').map_or(format, str::trim) {
            "" => return Ok(Part::Value(Format::Plain)),
            "humanize" => return Ok(Part::Value(Format::Short)),
            "humanizePercentage" => return Ok(Part::Value(Format::Percentage)),
            "humanizeDuration" => return Ok(Part::Value(Format::Duration)),
            _ => {}
        }
    }
    Err(Fault::Unsupported(format!("`{{{{ {inside} }}}}` in annotations")))
}

impl Format {
    fn of(self, value: f64) -> String {
        match self {
            Self::Plain => format!("{value}"),
            Self::Percentage => format!("{}%", rounded(value * 100.0)),
            Self::Duration if (0.0..1e12).contains(&value) => {
                // Below a minute milliseconds matter, above they do not.
                let rounded = if value < 60.0 { value } else { value.round() };
                format_duration(Duration::from_secs_f64(rounded))
            }
            Self::Duration => format!("{value}"),
            Self::Short => {
                let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")];
                let unit = units.into_iter().find(|(size, _)| value.abs() >= *size);
                unit.map_or_else(|| rounded(value), |(size, unit)| format!("{}{unit}", rounded(value / size)))
            }
        }
    }
}

/// Four significant digits.
fn rounded(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let decimals = (3.0 - value.abs().log10().floor()).clamp(0.0, 12.0);
    let scale = 10_f64.powf(decimals);
    format!("{}", (value * scale).round() / scale)
}

impl fmt::Display for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_filled() {
        let labels = Labels::from_iter([("model", "llama")]);
        for (text, value, filled) in [
            ("{{ $labels.model }} waits {{$value}}", 3.5, "llama waits 3.5"),
            ("{{ $value | humanizePercentage }}", 0.123_456, "12.35%"),
            ("{{ $value | humanizeDuration }}", 5_400.0, "1h30m"),
            ("{{ $value | humanizeDuration }}", 0.25, "250ms"),
            ("{{ $value | humanize }}", 1_234_567.0, "1.235M"),
            ("{{ $labels.nobody }}.", 1.0, "."),
            ("nothing", 1.0, "nothing"),
        ] {
            assert_eq!(Template::new(text).unwrap().fill(&labels, value), filled, "{text}");
        }
    }

    #[test]
    fn what_would_need_a_language_is_refused() {
        for text in
            ["{{ range .Alerts }}", "{{ $labels.a", "{{ $value | printf \"%.2f\" }}", "{{ query \"up\" }}"]
        {
            assert!(Template::new(text).is_err(), "{text}");
        }
    }
}
