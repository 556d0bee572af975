//! What callers say to the gateway in the field `tollgate`, for those whose client has no way to send headers.

use super::Prompt;
use crate::error::Error;
use serde::Deserialize;
use std::{borrow::Cow, time::Duration};

/// All but what is for the cache.
#[derive(Default, Deserialize)]
pub(super) struct Own<'a> {
    #[serde(borrow, default)]
    priority: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    idempotency_key: Option<Cow<'a, str>>,
    #[serde(default)]
    timeout_ms: Option<u32>,
}

impl<'a> Own<'a> {
    /// Reads the field.
    pub(super) fn read(json: &'a str) -> Result<Self, Error> {
        let problem =
            "must be an object; `priority` and `idempotency_key` are texts, `timeout_ms` a whole number";
        serde_json::from_str(json).map_err(|_| Error::Invalid { param: "tollgate", problem })
    }

    /// The prompt with what is said of it.
    pub(super) fn on(self, prompt: Prompt) -> Result<Prompt, Error> {
        let (class, key) = (self.priority.as_deref(), self.idempotency_key.as_deref());
        let prompt = prompt.with_priority(class.map(str::as_bytes))?;
        let prompt = prompt.with_idempotency_key(key.map(str::as_bytes))?;
        let timeout = self.timeout_ms.map(|millis| Duration::from_millis(millis.into()));
        Ok(Prompt { timeout, ..prompt })
    }
}
