//! The account on disk: what was begun, and how it ended, before anybody is told.
//!
//! Records are appended to segment files, each with its length and CRC, by one write into the page cache: a killed
//! process loses none of them (a lost machine may lose the last moments). What was begun and has no end when the
//! journal is opened again becomes a `crashed` record. [`crate::ship`] reads the ended ones and moves a cursor;
//! segments that are shipped and hold nothing open are deleted.

mod segment;

use prost::Message;
use proto::monitoring::v1::{Outcome, UsageRecord};
use segment::{Entry, Kind, Reader};
use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// A segment is closed when it has grown to this many bytes.
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// The journal of one gateway. Only one process may have it open.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    writer: Mutex<Writer>,
    ended: Notify,
    _lock: File,
}

#[derive(Debug)]
struct Writer {
    segment: u64,
    file: File,
    length: u64,
    /// Begun and not ended: in which segment.
    open: HashMap<String, u64>,
    buffer: Vec<u8>,
}

/// A place in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Number of the segment.
    pub segment: u64,
    /// Byte in it.
    pub offset: u64,
}

impl Journal {
    /// Opens the journal in a folder, cuts off a record that was half written, and ends what a crash left open.
    ///
    /// # Errors
    /// When the folder cannot be written, or another process has the journal open.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let lock = File::create(folder.join("lock"))?;
        lock.try_lock().map_err(|_| {
            io::Error::new(io::ErrorKind::WouldBlock, format!("another gateway uses {}", folder.display()))
        })?;
        let mut open: HashMap<String, (u64, UsageRecord)> = HashMap::new();
        let segments = segments(folder)?;
        for &segment in &segments {
            let path = path(folder, segment);
            let mut reader = Reader::open(&path, 0)?;
            while let Some(entry) = reader.next()? {
                match entry.kind {
                    Kind::Begun => open.insert(entry.record.usage_id.clone(), (segment, entry.record)),
                    Kind::Ended => open.remove(&entry.record.usage_id),
                };
            }
            if Some(&segment) == segments.last() {
                OpenOptions::new().write(true).open(&path)?.set_len(reader.offset())?;
            }
        }
        let segment = segments.last().copied().unwrap_or(1);
        let file = OpenOptions::new().create(true).append(true).open(path(folder, segment))?;
        let length = file.metadata()?.len();
        let crashed: Vec<UsageRecord> = open.values().map(|(_, record)| record.clone()).collect();
        let open = open.into_iter().map(|(id, (segment, _))| (id, segment)).collect();
        let writer = Mutex::new(Writer { segment, file, length, open, buffer: Vec::with_capacity(512) });
        let journal = Self { folder: folder.to_owned(), writer, ended: Notify::new(), _lock: lock };
        for record in crashed {
            journal.end(&UsageRecord { outcome: Outcome::Crashed.into(), estimated: true, ..record })?;
        }
        Ok(journal)
    }

    /// Notes that a request is on its way to an engine.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn begin(&self, record: &UsageRecord) -> io::Result<()> {
        let mut writer = self.lock();
        writer.append(&self.folder, Kind::Begun, record)?;
        let segment = writer.segment;
        writer.open.insert(record.usage_id.clone(), segment);
        Ok(())
    }

    /// Notes how a request ended. Nobody may be told of the end before this returned.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn end(&self, record: &UsageRecord) -> io::Result<()> {
        let mut writer = self.lock();
        writer.append(&self.folder, Kind::Ended, record)?;
        writer.open.remove(&record.usage_id);
        drop(writer);
        self.ended.notify_one();
        Ok(())
    }

    /// Waits until something ended since the last call.
    pub async fn until_ended(&self) {
        self.ended.notified().await;
    }

    /// The place after the last record.
    #[must_use]
    pub fn end_of_records(&self) -> Cursor {
        let writer = self.lock();
        Cursor { segment: writer.segment, offset: writer.length }
    }

    /// How many requests were begun and have not ended.
    #[must_use]
    pub fn open_requests(&self) -> usize {
        self.lock().open.len()
    }

    /// At most `limit` ended records after a place, and the place after them.
    ///
    /// # Errors
    /// When a segment cannot be read.
    pub fn read(&self, mut from: Cursor, limit: usize) -> io::Result<(Vec<UsageRecord>, Cursor)> {
        let mut records = Vec::new();
        let newest = self.lock().segment;
        loop {
            let path = path(&self.folder, from.segment);
            if path.exists() {
                let mut reader = Reader::open(&path, from.offset)?;
                while let Some(entry) = reader.next()? {
                    from.offset = reader.offset();
                    if entry.kind == Kind::Ended {
                        records.push(entry.record);
                        if records.len() == limit {
                            return Ok((records, from));
                        }
                    }
                }
            }
            if from.segment >= newest {
                return Ok((records, from));
            }
            from = Cursor { segment: from.segment + 1, offset: 0 };
        }
    }

    /// Where the records that were not shipped begin.
    ///
    /// # Errors
    /// When the cursor's file cannot be read.
    pub fn shipped(&self) -> io::Result<Cursor> {
        let first = segments(&self.folder)?.first().copied().unwrap_or(1);
        let start = Cursor { segment: first, offset: 0 };
        let text = match fs::read_to_string(self.folder.join("shipped")) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(start),
            Err(error) => return Err(error),
        };
        let cursor = text.trim().split_once(' ').and_then(|(segment, offset)| {
            Some(Cursor { segment: segment.parse().ok()?, offset: offset.parse().ok()? })
        });
        // A cursor that cannot be read means shipping again, which monitoring tells apart.
        Ok(cursor.filter(|cursor| *cursor >= start).unwrap_or(start))
    }

    /// Notes that everything before a place was shipped, and deletes what is no longer needed.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn set_shipped(&self, cursor: Cursor) -> io::Result<()> {
        let next = self.folder.join("shipped.next");
        fs::write(&next, format!("{} {}\n", cursor.segment, cursor.offset))?;
        fs::rename(next, self.folder.join("shipped"))?;
        let writer = self.lock();
        let needed =
            writer.open.values().copied().min().unwrap_or(u64::MAX).min(cursor.segment).min(writer.segment);
        drop(writer);
        for segment in segments(&self.folder)?.into_iter().filter(|&segment| segment < needed) {
            fs::remove_file(path(&self.folder, segment))?;
        }
        Ok(())
    }

    /// Keeps a record that monitoring does not take, in a segment of its own that nothing reads or deletes.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn set_aside(&self, record: &UsageRecord) -> io::Result<()> {
        let mut buffer = Vec::new();
        segment::encode(Kind::Ended, record, &mut buffer);
        OpenOptions::new().create(true).append(true).open(self.folder.join("refused"))?.write_all(&buffer)
    }

    /// Brings everything to the disk itself.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn sync(&self) -> io::Result<()> {
        self.lock().file.sync_data()
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    fn append(&mut self, folder: &Path, kind: Kind, record: &UsageRecord) -> io::Result<()> {
        if self.length >= SEGMENT_BYTES {
            self.rotate(folder)?;
        }
        self.buffer.clear();
        segment::encode(kind, record, &mut self.buffer);
        if let Err(error) = self.file.write_all(&self.buffer) {
            // A half-written record must not stand before a whole one.
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += self.buffer.len() as u64;
        Ok(())
    }

    fn rotate(&mut self, folder: &Path) -> io::Result<()> {
        let next = path(folder, self.segment + 1);
        let file = OpenOptions::new().create(true).append(true).open(next)?;
        self.file.sync_data()?;
        (self.file, self.length, self.segment) = (file, 0, self.segment + 1);
        Ok(())
    }
}

fn path(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("{segment:012}.journal"))
}

fn segments(folder: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".journal")?.parse::<u64>().ok());
        found.extend(number);
    }
    found.sort_unstable();
    Ok(found)
}

impl Entry {
    fn decode(payload: &[u8]) -> Option<Self> {
        let (&kind, record) = payload.split_first()?;
        Some(Self { kind: Kind::from_byte(kind)?, record: UsageRecord::decode(record).ok()? })
    }
}

#[cfg(test)]
mod tests;
