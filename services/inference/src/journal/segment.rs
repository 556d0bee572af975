//! One segment file: length, CRC-32 of the payload, payload; both numbers little-endian.

use prost::Message;
use proto::monitoring::v1::UsageRecord;
use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

/// Largest payload that is believed; a longer one is a torn length.
const MAX_PAYLOAD: u32 = 1024 * 1024;

/// Which half of a request's life a record tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Begun = 1,
    Ended = 2,
}

impl Kind {
    pub(super) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Begun),
            2 => Some(Self::Ended),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) record: UsageRecord,
}

/// Appends an encoded record to `buffer`, which is empty.
pub(super) fn encode(kind: Kind, record: &UsageRecord, buffer: &mut Vec<u8>) {
    buffer.extend_from_slice(&[0; 8]);
    buffer.push(kind as u8);
    // A Vec grows as needed, so encoding into it cannot fail.
    let _ = record.encode(buffer);
    let payload = &buffer[8..];
    let (length, crc) = (payload.len() as u32, crc32fast::hash(payload));
    buffer[..4].copy_from_slice(&length.to_le_bytes());
    buffer[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// Reads a segment from a place on, up to its end or the first record that is not whole.
#[derive(Debug)]
pub(super) struct Reader {
    file: BufReader<File>,
    offset: u64,
}

impl Reader {
    pub(super) fn open(path: &Path, offset: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Self { file: BufReader::new(file), offset })
    }

    /// The end of the last whole record.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut head = [0; 8];
        if !self.fill(&mut head)? {
            return Ok(None);
        }
        let [a, b, c, d, e, f, g, h] = head;
        let (length, crc) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        if length > MAX_PAYLOAD {
            return Ok(None);
        }
        let mut payload = vec![0; length as usize];
        if !self.fill(&mut payload)? || crc32fast::hash(&payload) != crc {
            return Ok(None);
        }
        let Some(entry) = Entry::decode(&payload) else { return Ok(None) };
        self.offset += 8 + u64::from(length);
        Ok(Some(entry))
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        match self.file.read_exact(buffer) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}
