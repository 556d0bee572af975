//! The only reader of configuration files and of the environment.
//!
//! Layers, later wins: defaults, a TOML file, environment. Environment names need `__`
//! (`TOLLGATE_INFERENCE__QUEUE__LENGTH`), but for a short list; Kubernetes injects names of its own.
//! Every fault is found before anything starts, and all of them are named at once.

use figment::{
    Figment, Profile, Provider,
    error::Kind,
    providers::Format as _,
    value::{Map, Value},
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use std::{
    fmt,
    path::{Path, PathBuf},
};

pub use figment::value::Dict;
pub use secrecy::{ExposeSecret, SecretString};

/// Names that are read without `__`, and where they go.
const SHORT: &[(&str, &[&str])] = &[
    ("TOLLGATE_ENGINES", &["inference", "engines"]),
    ("TOLLGATE_DATA_DIR", &["data_dir"]),
    ("TOLLGATE_LISTEN", &["listen"]),
    ("TOLLGATE_LOG", &["telemetry", "log"]),
];

/// The name of the file, when it is not given as an argument.
const FILE: &str = "TOLLGATE_CONFIG";

/// A configuration together with what its reader should be warned of.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The configuration.
    pub config: T,
    /// One sentence per oddity that does no harm.
    pub warnings: Vec<String>,
}

/// All faults of a configuration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has {} fault(s):{}", .0.len(), .0.iter().map(|fault| format!("\n  - {fault}")).collect::<String>())]
pub struct Faults(pub Vec<String>);

/// A configuration that can name what is wrong with its values beyond their types.
pub trait Validate {
    /// Adds one sentence per fault, each beginning with the key.
    fn validate(&self, faults: &mut Vec<String>);
}

/// The process environment.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn environment() -> Vec<(String, String)> {
    std::env::vars().filter(|(name, _)| name.starts_with("TOLLGATE_")).collect()
}

/// The file that the environment names.
#[must_use]
pub fn file(environment: &[(String, String)]) -> Option<PathBuf> {
    environment.iter().find(|(name, _)| name == FILE).map(|(_, path)| PathBuf::from(path))
}

/// Loads a configuration from `file` (or `TOLLGATE_CONFIG`), the given environment, and `overrides` last.
///
/// # Errors
/// Every fault that was found.
pub fn load<T: DeserializeOwned + Validate>(
    file: Option<&Path>,
    environment: &[(String, String)],
    overrides: Dict,
) -> Result<Loaded<T>, Faults> {
    let mut warnings = Vec::new();
    let mut faults = Vec::new();
    let named = self::file(environment);
    let mut values = match file.or(named.as_deref()) {
        Some(path) => read(path).unwrap_or_else(|fault| {
            faults.push(fault);
            Dict::new()
        }),
        None => Dict::new(),
    };
    merge(&mut values, from_environment(environment, &mut warnings));
    merge(&mut values, overrides);
    let config: Option<T> = extract(values, &mut faults);
    if let Some(config) = &config {
        config.validate(&mut faults);
    }
    match config {
        Some(config) if faults.is_empty() => Ok(Loaded { config, warnings }),
        _ => Err(Faults(faults)),
    }
}

fn read(path: &Path) -> Result<Dict, String> {
    if !path.is_file() {
        return Err(format!("{}: there is no such file", path.display()));
    }
    let data = figment::providers::Toml::file_exact(path).data();
    data.map(|mut profiles| profiles.remove(&Profile::Default).unwrap_or_default())
        .map_err(|error| format!("{}: {}", path.display(), error.kind))
}

fn from_environment(environment: &[(String, String)], warnings: &mut Vec<String>) -> Dict {
    let mut values = Dict::new();
    for (name, value) in environment.iter().filter(|(name, _)| name != FILE) {
        let path: Vec<String> = match SHORT.iter().find(|(short, _)| short == name) {
            Some((_, path)) => path.iter().map(|&part| part.to_owned()).collect(),
            None if name.contains("__") => {
                name.trim_start_matches("TOLLGATE_").to_lowercase().split("__").map(str::to_owned).collect()
            }
            None => {
                warnings.push(format!("{name} is not read: settings are named TOLLGATE_SECTION__KEY"));
                continue;
            }
        };
        let value = if name == "TOLLGATE_ENGINES" { list(value) } else { scalar(value) };
        merge(&mut values, nest(&path, value));
    }
    values
}

fn list(text: &str) -> Value {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(Value::from).collect::<Vec<_>>().into()
}

fn scalar(text: &str) -> Value {
    // Figment's own reading of environment values: numbers, booleans, lists, tables, else text.
    text.parse().unwrap_or_else(|_: std::convert::Infallible| Value::from(text))
}

fn nest(path: &[String], value: Value) -> Dict {
    let mut dict = Dict::new();
    if let Some((first, rest)) = path.split_first() {
        let value = if rest.is_empty() { value } else { nest(rest, value).into() };
        dict.insert(first.clone(), value);
    }
    dict
}

fn merge(into: &mut Dict, from: Dict) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Dict(_, old)), Value::Dict(_, new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// Reads the values; what is at fault is named and left out, until the rest can be read.
fn extract<T: DeserializeOwned>(mut values: Dict, faults: &mut Vec<String>) -> Option<T> {
    loop {
        let error = match Figment::from(Values(&values)).extract::<T>() {
            Ok(config) => return Some(config),
            Err(error) => error,
        };
        let mut removed = false;
        for fault in error {
            faults.push(describe(&fault.path.join("."), &fault.kind));
            removed |= remove(&mut values, &fault.path);
        }
        if !removed {
            return None;
        }
    }
}

fn describe(path: &str, kind: &Kind) -> String {
    match kind {
        Kind::UnknownField(_, known) => {
            format!("{path}: there is no such key; known are {}", known.join(", "))
        }
        kind => format!("{path}: {kind}"),
    }
}

fn remove(values: &mut Dict, path: &[String]) -> bool {
    match path {
        [] => false,
        [last] => values.remove(last).is_some(),
        [first, rest @ ..] => match values.get_mut(first) {
            Some(Value::Dict(_, inner)) => remove(inner, rest) || values.remove(first).is_some(),
            Some(_) => values.remove(first).is_some(),
            None => false,
        },
    }
}

struct Values<'a>(&'a Dict);

impl Provider for Values<'_> {
    fn metadata(&self) -> figment::Metadata {
        figment::Metadata::named("configuration")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.0.clone())]))
    }
}

/// Reads a secret that an environment value may have turned into a number.
///
/// # Errors
/// When the value is neither text nor a number.
pub fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Scalar {
        Text(String),
        Number(u64),
    }
    Ok(match Scalar::deserialize(deserializer)? {
        Scalar::Text(text) => text.into(),
        Scalar::Number(number) => number.to_string().into(),
    })
}

/// A secret, or the path of the file that holds it.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Secret {
    /// The secret itself.
    #[serde(deserialize_with = "some_secret")]
    value: Option<SecretString>,
    /// A file that holds it; white space around it does not count.
    file: Option<std::path::PathBuf>,
}

fn some_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    secret(deserializer).map(Some)
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Secret").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Secret {
    /// The secret, read from its file when there is one, or `None` when none is configured.
    ///
    /// # Errors
    /// One sentence when the file cannot be read.
    pub fn read(&self) -> Result<Option<SecretString>, String> {
        match &self.file {
            Some(path) => std::fs::read_to_string(path)
                .map(|text| Some(text.trim().to_owned().into()))
                .map_err(|error| format!("{}: {error}", path.display())),
            None => Ok(self.value.clone()),
        }
    }
}

#[cfg(test)]
mod tests;
