//! An engine whose answers were made before the question came: the fastest thing that a gateway can stand in front of.
//!
//! It reads just enough of a request to tell stream from not. Every event of a stream is a write of its own, as a real
//! engine does it; joining them is up to whoever reads.

use crate::wire::{Message, Reader};
use memchr::memmem;
use std::{
    io::{self, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

mod answers;

pub use answers::Answers;

/// Serves until the listener fails, each connection on a thread of its own. With `hold`, streams stop after so many
/// writes and stay open until their clients leave.
///
/// # Errors
/// When the listener fails.
pub fn serve(listener: &TcpListener, answers: &Arc<Answers>, hold: Option<usize>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        let answers = Arc::clone(answers);
        // A connection ends with its peer; what broke it is the peer's to report.
        thread::spawn(move || drop(converse(stream, &answers, hold)));
    }
}

fn converse(stream: TcpStream, answers: &Answers, hold: Option<usize>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = Reader::new(stream);
    while let Some(message) = reader.message()? {
        // What does not stream is one write.
        let writes = choose(&message, answers);
        for bytes in writes.iter().take(hold.unwrap_or(usize::MAX)) {
            reader.stream().write_all(bytes)?;
        }
    }
    Ok(())
}

fn choose<'a>(request: &Message<'_>, answers: &'a Answers) -> &'a [Vec<u8>] {
    let path = request.head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    match path {
        b"/v1/chat/completions" | b"/v1/completions" if says(request.body, "stream") => {
            answers.stream(says(request.body, "include_usage"))
        }
        b"/v1/chat/completions" | b"/v1/completions" => &answers.chat,
        b"/v1/embeddings" => &answers.embedding,
        b"/v1/models" => &answers.models,
        b"/metrics" => &answers.metrics,
        b"/version" => &answers.version,
        b"/health" => &answers.healthy,
        _ => &answers.unknown,
    }
}

/// Whether the body sets this field to true.
fn says(body: &[u8], field: &str) -> bool {
    let name = format!("\"{field}\"");
    memmem::find_iter(body, &name).any(|at| {
        let rest = body[at + name.len()..].trim_ascii_start();
        rest.strip_prefix(b":").is_some_and(|value| value.trim_ascii_start().starts_with(b"true"))
    })
}

#[cfg(test)]
mod tests;
