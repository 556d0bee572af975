//! What the first start made, kept for its owner alone in `first-run.json`.

use anyhow::Context;
use permissions::FirstRun;
use serde::{Deserialize, Serialize};
use shared::config::ExposeSecret;
use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The file's content.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// Without a path: REST lies below `/api/v1`, OpenAI's API below `/v1`.
    pub(crate) base_url: String,
    pub(crate) api_key: String,
    pub(crate) model: String,
    pub(crate) owner_email: String,
    pub(crate) owner_password: String,
    pub(crate) owner_id: String,
}

/// Where the file is.
pub(crate) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("first-run.json")
}

impl Welcome {
    /// What is known before an engine was seen.
    pub(crate) fn new(made: &FirstRun, base_url: String) -> Self {
        Self {
            base_url,
            api_key: made.api_key.expose_secret().to_owned(),
            model: String::new(),
            owner_email: made.owner_email.clone(),
            owner_password: made.owner_password.expose_secret().to_owned(),
            owner_id: made.user_id.to_string(),
        }
    }

    /// What an earlier start wrote, when it is still there.
    pub(crate) fn read(data_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path(data_dir)).ok()?).ok()
    }

    /// Writes the file, readable by its owner alone.
    pub(crate) fn write(&self, data_dir: &Path) -> anyhow::Result<()> {
        let (path, next) = (path(data_dir), data_dir.join("first-run.next"));
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        fs::rename(&next, &path).with_context(|| format!("cannot write {}", path.display()))
    }
}
