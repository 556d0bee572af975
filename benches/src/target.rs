//! What is loaded, and with what: an address, and the bytes of the request that goes there again and again.

use anyhow::{Context, bail};
use serde_json::json;
use std::{fs, path::Path, str::FromStr};

/// The kind of request sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// A small chat completion, answered in one piece.
    Chat,
    /// The same chat completion each time, at temperature 0, which whoever keeps answers need not make again.
    Cached,
    /// A chat completion of 256 tokens, answered as a stream.
    Stream,
    /// One short text to embed.
    Embed,
}

impl Mode {
    /// The word for it in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Cached => "cached",
            Self::Stream => "stream",
            Self::Embed => "embed",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Chat | Self::Cached | Self::Stream => "/v1/chat/completions",
            Self::Embed => "/v1/embeddings",
        }
    }
}

/// Host and port of a plain HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// As a socket wants it: `host:port`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.0
    }
}

impl FromStr for Address {
    type Err = anyhow::Error;

    fn from_str(url: &str) -> anyhow::Result<Self> {
        let rest = url.strip_prefix("http://").with_context(|| format!("{url}: must start with http://"))?;
        let authority = rest.trim_end_matches('/').trim_end_matches("/v1");
        if authority.contains('/') || authority.is_empty() {
            bail!("{url}: must be http://HOST:PORT without a path");
        }
        let named_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        Ok(Self(if named_port { authority.to_owned() } else { format!("{authority}:80") }))
    }
}

/// Who calls, and for which model.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Sent as a bearer token.
    pub api_key: String,
    /// Named in the body.
    pub model: String,
}

impl Credentials {
    /// Reads the file that a first start of the gateway writes.
    ///
    /// # Errors
    /// When it cannot be read, or names no key or no model; the model is there once an engine has answered.
    pub fn from_file(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let json: serde_json::Value = serde_json::from_str(&text)?;
        let field = |name: &str| {
            let value = json.get(name).and_then(serde_json::Value::as_str);
            let value = value.filter(|value| !value.is_empty());
            value.map(str::to_owned).with_context(|| format!("{} names no {name} yet", path.display()))
        };
        Ok(Self { api_key: field("api_key")?, model: field("model")? })
    }
}

/// What stands before the number in a prompt.
const BEFORE_NUMBER: &str = "visitor ";
/// Digits in the prompt that differ from request to request.
const DIGITS: usize = 12;

/// A request ready to be written, different in one number each time so that no cache can answer it, unless it is to.
#[derive(Debug, Clone)]
pub struct Prepared {
    bytes: Vec<u8>,
    number_at: usize,
    digits: usize,
}

impl Prepared {
    /// The request of this mode.
    #[must_use]
    pub fn new(mode: Mode, address: &Address, credentials: &Credentials) -> Self {
        let (model, text) = (&credentials.model, format!("Say hello to {BEFORE_NUMBER}{:0DIGITS$}.", 0));
        let messages = json!([{"role": "user", "content": text}]);
        let body = match mode {
            Mode::Chat => json!({"model": model, "messages": messages, "max_tokens": 16}),
            Mode::Cached => {
                json!({"model": model, "messages": messages, "max_tokens": 16, "temperature": 0})
            }
            Mode::Stream => json!({"model": model, "messages": messages, "max_tokens": 256, "stream": true}),
            Mode::Embed => json!({"model": model, "input": text}),
        }
        .to_string();
        let (path, host, key) = (mode.path(), address.authority(), &credentials.api_key);
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let number_at = head.len() + body.find(BEFORE_NUMBER).map_or(0, |at| at + BEFORE_NUMBER.len());
        let digits = if mode == Mode::Cached { 0 } else { DIGITS };
        Self { bytes: [head.into_bytes(), body.into_bytes()].concat(), number_at, digits }
    }

    /// The bytes of the request with this number, or of the one request.
    pub fn numbered(&mut self, mut number: u64) -> &[u8] {
        for digit in self.bytes[self.number_at..self.number_at + self.digits].iter_mut().rev() {
            *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
        }
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_what_a_socket_wants() {
        for (url, authority) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://127.0.0.1:8080/v1/", "127.0.0.1:8080"),
            ("http://gateway", "gateway:80"),
            ("http://[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(url.parse::<Address>().unwrap().authority(), authority);
        }
        for url in ["127.0.0.1:8080", "https://a", "http://a/b", "http://"] {
            assert!(url.parse::<Address>().is_err(), "{url}");
        }
    }

    #[test]
    fn requests_differ_in_their_number_alone() {
        let address = "http://a:1".parse().unwrap();
        let credentials = Credentials { api_key: "k".to_owned(), model: "000000000000".to_owned() };
        for mode in [Mode::Chat, Mode::Cached, Mode::Stream, Mode::Embed] {
            let mut prepared = Prepared::new(mode, &address, &credentials);
            let before = String::from_utf8(prepared.numbered(0).to_vec()).unwrap();
            let after = String::from_utf8(prepared.numbered(987_654_321).to_vec()).unwrap();
            let number = if mode == Mode::Cached { "000000000000" } else { "000987654321" };
            assert_eq!(after, before.replace("000000000000.", &format!("{number}.")), "{mode:?}");
            let (head, body) = after.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("content-length: {}", body.len())));
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["model"], "000000000000");
        }
    }
}
