//! Processes that had this folder before: what they held counts as spent until all that they did is in the ledger.

use crate::journal::{Cursor, Journal};
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use uuid::Uuid;

const FILE: &str = "budget-holders";

/// Those whose leases have not been ended yet.
#[derive(Debug)]
pub(super) struct Predecessors {
    file: PathBuf,
    own: Uuid,
    gone: Vec<Uuid>,
    /// Up to where the journal holds what they did.
    until: Cursor,
}

impl Predecessors {
    /// Those of this folder, to which `own` is added.
    pub(super) fn open(folder: &Path, own: Uuid, journal: &Journal) -> io::Result<Self> {
        let file = folder.join(FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let gone: Vec<Uuid> = text.lines().filter_map(|line| line.parse().ok()).collect();
        let this = Self { file, own, gone, until: journal.end_of_records() };
        this.write()?;
        Ok(this)
    }

    /// Those whose records monitoring has.
    pub(super) fn ended(&self, journal: &Journal) -> Vec<Uuid> {
        let is_shipped = journal.shipped().is_ok_and(|shipped| shipped >= self.until);
        if is_shipped { self.gone.clone() } else { Vec::new() }
    }

    /// Monitoring has ended the leases of these.
    pub(super) fn forget(&mut self, ended: &[Uuid]) -> io::Result<()> {
        if ended.is_empty() {
            return Ok(());
        }
        self.gone.retain(|gone| !ended.contains(gone));
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        let lines: String = self.gone.iter().chain([&self.own]).map(|id| format!("{id}\n")).collect();
        let fresh = self.file.with_extension("new");
        fs::write(&fresh, lines)?;
        fs::rename(fresh, &self.file)
    }
}
