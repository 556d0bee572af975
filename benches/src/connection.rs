//! One kept-alive connection to the target: a request goes out, its answer is read whole, and only then the next.

use crate::{
    target::{Address, Mode},
    wire::Reader,
};
use anyhow::Context;
use memchr::memmem;
use std::{
    io::{self, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

/// An answer that takes longer than this counts as an error.
const PATIENCE: Duration = Duration::from_secs(30);
/// The end of a stream, its event and the end of the chunked body after it.
const TAIL: usize = 64;

/// When the parts of a good answer were here.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    /// The first byte of the body.
    pub first_byte: Instant,
    /// The last one.
    pub whole: Instant,
}

/// Why a request counts as an error.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// The connection could not be made, or broke.
    Connection(io::ErrorKind),
    /// Another status than 200.
    Status(u16),
    /// A stream that did not end with `[DONE]`, or had an error in it.
    Incomplete,
}

impl Failure {
    /// The word for it in reports.
    #[must_use]
    pub fn word(&self) -> String {
        match self {
            Self::Connection(kind) => format!("connection: {kind}"),
            Self::Status(code) => format!("status {code}"),
            Self::Incomplete => "incomplete stream".to_owned(),
        }
    }
}

/// A connection that is made again when it was lost.
#[derive(Debug)]
pub struct Connection {
    address: Address,
    mode: Mode,
    reader: Option<Reader<TcpStream>>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn open(address: &Address, mode: Mode) -> anyhow::Result<Self> {
        let reader = connect(address).with_context(|| {
            format!("cannot connect to {}; is it running, and on this address?", address.authority())
        })?;
        Ok(Self { address: address.clone(), mode, reader: Some(reader) })
    }

    /// Sends one request and reads its answer.
    ///
    /// # Errors
    /// Says why when it was not answered well; the connection can be used again.
    pub fn ask(&mut self, request: &[u8]) -> Result<Answered, Failure> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => connect(&self.address).map_err(|error| Failure::Connection(error.kind()))?,
        };
        let answer = exchange(&mut reader, request, self.mode);
        if !matches!(answer, Err(Failure::Connection(_))) {
            self.reader = Some(reader);
        }
        answer
    }
}

fn connect(address: &Address) -> io::Result<Reader<TcpStream>> {
    let stream = TcpStream::connect(address.authority())?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(Reader::new(stream))
}

fn exchange(reader: &mut Reader<TcpStream>, request: &[u8], mode: Mode) -> Result<Answered, Failure> {
    let broken = |error: io::Error| Failure::Connection(error.kind());
    reader.stream().write_all(request).map_err(broken)?;
    let message = reader.message().map_err(broken)?;
    let message = message.ok_or(Failure::Connection(io::ErrorKind::ConnectionAborted))?;
    match message.status() {
        Some(200) if mode == Mode::Stream && !ends_well(message.body) => Err(Failure::Incomplete),
        Some(200) => Ok(Answered { first_byte: message.first_byte, whole: Instant::now() }),
        status => Err(Failure::Status(status.unwrap_or(0))),
    }
}

/// Whether the stream said that it is done; an error event stands right before that, if there is one.
fn ends_well(body: &[u8]) -> bool {
    let tail = &body[body.len().saturating_sub(TAIL)..];
    memmem::find(tail, b"data: [DONE]").is_some() && memmem::find(body, b"\"error\":").is_none()
}
