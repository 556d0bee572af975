//! What callers of chats and completions ask of a stream beside its text.

use super::head::field;
use crate::error::Error;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// `stream_options`, read.
pub(super) struct Options<'a> {
    pub(super) include_usage: bool,
    /// Whether anything else is asked of the stream.
    pub(super) more: bool,
    pub(super) others: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Options<'a> {
    /// Nothing is asked of it.
    pub(super) const fn none() -> Self {
        Self { include_usage: false, more: false, others: Vec::new() }
    }

    pub(super) fn read(raw: Option<&'a RawValue>, stream: bool) -> Result<Self, Error> {
        let Some(raw) = raw.filter(|raw| raw.get() != "null") else { return Ok(Self::none()) };
        if !stream {
            return Err(Error::Invalid {
                param: "stream_options",
                problem: "can only be given together with `stream: true`",
            });
        }
        let invalid = Error::Invalid { param: "stream_options", problem: "must be an object" };
        let fields: std::collections::BTreeMap<Cow<'a, str>, &'a RawValue> =
            serde_json::from_str(raw.get()).map_err(|_| invalid)?;
        let more = fields.keys().any(|name| name != "include_usage");
        let include_usage = fields.get("include_usage").copied();
        let include_usage =
            field(include_usage, "stream_options.include_usage", "must be true or false")?.unwrap_or(false);
        // On its own the engine ignores `continuous_usage_stats`; beside the usage that we ask for it would not.
        let ours = |name: &str| matches!(name, "include_usage" | "continuous_usage_stats");
        let others = fields.into_iter().filter(|(name, _)| !ours(name)).collect();
        Ok(Self { include_usage, more, others })
    }
}
