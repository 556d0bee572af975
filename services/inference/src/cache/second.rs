//! The second tier: answers in Redis, where all gateways find them.
//!
//! What is read back was written by another process, perhaps of another version, and is believed only with its
//! checksum. Which model, route and tags it is of is known by whoever looks, because the key says it.

use super::{
    gone::Mark,
    kept::{Kept, Origin},
    key::Key,
};
use crate::sse::Usage;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use shared::redis::shelf::{Looked, Shelf};
use std::time::Duration;
use uuid::Uuid;

/// How an answer is written; another number is not read.
const VERSION: u8 = 2;
/// Bytes before the answer itself.
const HEAD: usize = 1 + 4 + 16 + 9 * 8;

/// Answers in Redis.
#[derive(Debug, Clone)]
pub(super) struct Second(Shelf);

impl Second {
    pub(super) const fn new(shelf: Shelf) -> Self {
        Self(shelf)
    }

    /// An answer that is there, if Redis says so in time.
    pub(super) async fn get(&self, name: &str, of: &Origin, within: Duration) -> Option<Kept> {
        match self.0.get(name, within).await {
            Looked::Found(written) => {
                read(written, of).filter(|kept| !kept.left(shared::time::now()).is_zero())
            }
            Looked::Nothing | Looked::Unknown => None,
        }
    }

    /// What was asked under a name, and the answer, if Redis says so in time.
    pub(super) async fn named(&self, name: &str, of: &Origin, within: Duration) -> Option<(Key, Kept)> {
        let Looked::Found(mut written) = self.0.get(name, within).await else { return None };
        let mut fingerprint = [0; 32];
        written.try_copy_to_slice(&mut fingerprint).ok()?;
        Some((Key(fingerprint), read(written, of)?))
    }

    /// Writes an answer with what was asked. Returns whether it is there.
    pub(super) async fn name(&self, name: String, fingerprint: Key, kept: &Kept) -> bool {
        let (key, answer) = (fingerprint.0, write(kept));
        self.0.store(name, [&key[..], &answer].concat().into(), kept.ttl).await
    }

    /// Has an answer written.
    pub(super) fn put(&self, name: String, kept: &Kept) {
        self.0.put(name, write(kept), kept.left(shared::time::now()));
    }
}

/// What an answer is called there.
pub(super) fn name(key: Key, stream: bool) -> String {
    format!("{key}:{}", u8::from(stream))
}

fn write(kept: &Kept) -> Bytes {
    let mut body = BytesMut::with_capacity(HEAD + kept.bytes.len());
    let usage_event = kept.usage_event.clone();
    let stands =
        usage_event.as_ref().map_or((u64::MAX, u64::MAX), |event| (event.start as u64, event.end as u64));
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    body.put_slice(kept.mark.epoch.as_bytes());
    body.put_u64_le(kept.mark.sequence);
    body.put_i64_le(kept.made.0);
    let Usage { prompt, cached, completion } = kept.usage;
    for number in [micros(kept.ttl), micros(kept.took), prompt, cached, completion, stands.0, stands.1] {
        body.put_u64_le(number);
    }
    body.put_slice(&kept.bytes);
    let mut written = BytesMut::with_capacity(body.len() + 5);
    written.put_u8(VERSION);
    written.put_u32_le(crc32fast::hash(&body));
    written.put_slice(&body);
    written.freeze()
}

fn read(mut written: Bytes, of: &Origin) -> Option<Kept> {
    if written.try_get_u8().ok()? != VERSION || written.try_get_u32_le().ok()? != crc32fast::hash(&written) {
        return None;
    }
    let mut epoch = [0; 16];
    written.try_copy_to_slice(&mut epoch).ok()?;
    let mark = Mark { epoch: Uuid::from_bytes(epoch), sequence: written.try_get_u64_le().ok()? };
    let made = policy::Time(written.try_get_i64_le().ok()?);
    let mut number = || written.try_get_u64_le().ok();
    let (ttl, took) = (Duration::from_micros(number()?), Duration::from_micros(number()?));
    let usage = Usage { prompt: number()?, cached: number()?, completion: number()? };
    let (start, end) = (number()?, number()?);
    let usage_event = match (usize::try_from(start), usize::try_from(end)) {
        _ if start == u64::MAX => None,
        (Ok(start), Ok(end)) if start <= end && end <= written.len() => Some(start..end),
        _ => return None,
    };
    Some(Kept { usage_event, took, ttl, mark, ..Kept::new(written, usage, made, of.clone()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kept(bytes: &'static [u8], usage_event: Option<std::ops::Range<usize>>) -> Kept {
        let usage = Usage { prompt: 1, cached: 2, completion: 3 };
        let (took, ttl) = (Duration::from_micros(4), Duration::from_secs(5));
        let mark = Mark { epoch: Uuid::from_u128(7), sequence: 8 };
        let kept = Kept::new(bytes.into(), usage, policy::Time(6), Origin::none());
        Kept { usage_event, took, ttl, mark, ..kept }
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        for (bytes, event) in [(&b"{}"[..], None), (b"data: x\n\n", Some(2..5)), (b"", Some(0..0))] {
            let written = kept(bytes, event.clone());
            let again = read(write(&written), &Origin::none()).unwrap();
            assert_eq!((again.bytes, again.usage_event, again.usage), (written.bytes, event, written.usage));
            assert_eq!((again.made, again.ttl, again.took), (written.made, written.ttl, written.took));
            assert_eq!(again.mark, written.mark);
        }
    }

    proptest! {
        #[test]
        fn what_was_changed_on_the_way_is_not_believed(at in 0_usize..100, flip in 1_u8..) {
            let mut written = write(&kept(b"data: x\n\n", Some(2..5))).to_vec();
            let at = at % written.len();
            written[at] ^= flip;
            prop_assert!(read(written.into(), &Origin::none()).is_none());
        }

        #[test]
        fn no_bytes_make_it_fail(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(bytes.into(), &Origin::none());
        }
    }
}
