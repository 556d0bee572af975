//! The key that columns are encrypted with when none is configured: made once, kept in the data folder for its owner
//! alone. Whoever has the database but not this file cannot read them; whoever loses the file cannot either.

use anyhow::Context;
use shared::{
    config::{ExposeSecret, SecretString},
    seal::Sealer,
};
use std::{
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// The configured keys, or the one in the data folder.
pub(crate) fn keys(configured: &[SecretString], data_dir: &Path) -> anyhow::Result<Vec<SecretString>> {
    if !configured.is_empty() {
        return Ok(configured.to_vec());
    }
    let path = data_dir.join("encryption.key");
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut file) => {
            let key = Sealer::generate();
            file.write_all(key.expose_secret().as_bytes())?;
            file.sync_all()?;
            tracing::warn!(file = %path.display(), "an encryption key was made; back it up with the database");
            Ok(vec![key])
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let key = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            Ok(vec![key.trim().into()])
        }
        Err(error) => Err(error).with_context(|| format!("cannot make {}", path.display())),
    }
}
