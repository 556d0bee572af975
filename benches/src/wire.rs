//! As much HTTP/1.1 as a benchmark needs: where a message ends, and nothing of what is in it.
//!
//! Both sides of the gateway read with it: the generator its answers, the engine its requests.

use memchr::memmem;
use std::{
    io::{self, Read, Write},
    time::Instant,
};

/// What a reader starts with; it grows to the largest message seen.
const FIRST_BUFFER: usize = 16 * 1024;

/// One message, as it lay on the wire.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Start line and headers, with the empty line.
    pub head: &'a [u8],
    /// The body, with its chunk sizes if it came in chunks.
    pub body: &'a [u8],
    /// When the first byte of the body was here; the end of the head when there is no body.
    pub first_byte: Instant,
}

impl Message<'_> {
    /// The status code of an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        std::str::from_utf8(self.head.get(9..12)?).ok()?.parse().ok()
    }
}

/// Reads messages from a connection, one after the other.
#[derive(Debug)]
pub struct Reader<S> {
    stream: S,
    buffer: Vec<u8>,
    filled: usize,
    /// Bytes at the front that belong to the message given out last.
    given: usize,
}

impl<S: Read + Write> Reader<S> {
    /// A reader at the start of a connection.
    pub fn new(stream: S) -> Self {
        Self { stream, buffer: vec![0; FIRST_BUFFER], filled: 0, given: 0 }
    }

    /// The connection, to write to.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The next message, or `None` when the peer closed the connection between two.
    ///
    /// # Errors
    /// When the connection breaks, ends inside a message, or carries something other than HTTP/1.1.
    pub fn message(&mut self) -> io::Result<Option<Message<'_>>> {
        self.buffer.copy_within(self.given..self.filled, 0);
        self.filled -= self.given;
        self.given = 0;
        let head = loop {
            if let Some(at) = memmem::find(&self.buffer[..self.filled], b"\r\n\r\n") {
                break at + 4;
            }
            if self.fill()? == 0 {
                return if self.filled == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        };
        let mut body = Body::after(&self.buffer[..head])?;
        let mut first_byte = (self.filled > head).then(Instant::now);
        let end = loop {
            if let Some(end) = body.end(&self.buffer[..self.filled])? {
                break end;
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            first_byte.get_or_insert_with(Instant::now);
        };
        self.given = end;
        let (head, body) = self.buffer[..end].split_at(head);
        Ok(Some(Message { head, body, first_byte: first_byte.unwrap_or_else(Instant::now) }))
    }

    fn fill(&mut self) -> io::Result<usize> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let read = self.stream.read(&mut self.buffer[self.filled..])?;
        self.filled += read;
        Ok(read)
    }
}

/// How a body ends, and how far that has been followed.
#[derive(Debug, PartialEq, Eq)]
enum Body {
    Ends { at: usize },
    Chunk { at: usize },
    Trailer { at: usize },
}

impl Body {
    fn after(head: &[u8]) -> io::Result<Self> {
        if let Some(length) = header(head, b"content-length") {
            let length: usize = number(length, 10)?;
            return Ok(Self::Ends { at: head.len() + length });
        }
        match header(head, b"transfer-encoding") {
            Some(_) => Ok(Self::Chunk { at: head.len() }),
            None if head.starts_with(b"HTTP/") => Err(invalid("an answer without a length")),
            None => Ok(Self::Ends { at: head.len() }),
        }
    }

    /// Where the message ends, once it is all there.
    fn end(&mut self, seen: &[u8]) -> io::Result<Option<usize>> {
        loop {
            let at = match self {
                Self::Ends { at } => return Ok((*at <= seen.len()).then_some(*at)),
                Self::Chunk { at } | Self::Trailer { at } => *at,
            };
            let Some(line) = seen.get(at..).and_then(|rest| memmem::find(rest, b"\r\n")) else {
                return Ok(None);
            };
            let next = at + line + 2;
            *self = match self {
                Self::Trailer { .. } if line == 0 => Self::Ends { at: next },
                Self::Trailer { .. } => Self::Trailer { at: next },
                _ => match number(&seen[at..at + line], 16)? {
                    0 => Self::Trailer { at: next },
                    size => Self::Chunk { at: next + size + 2 },
                },
            };
        }
    }
}

/// The value of a header, its name in lower case.
#[must_use]
pub fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        line[..colon].eq_ignore_ascii_case(name).then(|| line[colon + 1..].trim_ascii())
    })
}

/// A length in a header, or a chunk size, which may have an extension after a semicolon.
fn number(text: &[u8], radix: u32) -> io::Result<usize> {
    let digits = text.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let digits = std::str::from_utf8(digits).map_err(|_| invalid("a length that is no number"))?;
    usize::from_str_radix(digits, radix).map_err(|_| invalid("a length that is no number"))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests;
