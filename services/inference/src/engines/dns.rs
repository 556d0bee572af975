//! Engines behind a name: every address it has is one. The name is looked up again and again.

use super::{Fleet, roster::Found, source::Scheme};
use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
};

impl Fleet {
    /// Follows a name until it is told to stop. While it cannot be looked up, what was known holds.
    pub(super) async fn resolve(&self, entry: &str, scheme: Scheme, host: &str, port: u16) {
        let mut last = String::new();
        loop {
            let answer = tokio::net::lookup_host((host, port)).await;
            match engines(scheme, answer.map(Iterator::collect)) {
                Ok(found) => {
                    last.clear();
                    self.found(entry, found);
                }
                Err(error) if error != last => {
                    tracing::warn!(entry, error, "the name was not found; the engines of before stay");
                    last = error;
                }
                Err(_) => {}
            }
            tokio::time::sleep(self.settings().resolve_interval).await;
        }
    }
}

/// The engines at the addresses of a name. An answer without any is no answer.
fn engines(scheme: Scheme, answer: io::Result<Vec<SocketAddr>>) -> Result<Found, String> {
    let addresses = answer.map_err(|error| error.to_string())?;
    let url = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => format!("{scheme}://{ip}:{}", address.port()),
        IpAddr::V6(ip) => format!("{scheme}://[{ip}]:{}", address.port()),
    };
    // Resolvers mix the order, and may say one address twice.
    let urls: BTreeSet<String> = addresses.into_iter().map(url).collect();
    let found: Found = urls.into_iter().map(|url| (url, None)).collect();
    if found.is_empty() { Err("it has no addresses".into()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_one_engine() {
        let addresses =
            ["10.0.0.7:8000", "[fd00::7]:8000", "10.0.0.7:8000"].map(|text| text.parse().unwrap());
        let found = engines(Scheme::Https, Ok(addresses.to_vec())).unwrap();
        let urls: Vec<&str> = found.iter().map(|(url, _)| url.as_str()).collect();
        assert_eq!(urls, ["https://10.0.0.7:8000", "https://[fd00::7]:8000"]);
    }

    #[test]
    fn no_answer_and_an_empty_one_leave_what_was_known() {
        let failed = io::Error::other("failed to lookup address information");
        assert_eq!(engines(Scheme::Http, Err(failed)), Err("failed to lookup address information".into()));
        assert_eq!(engines(Scheme::Http, Ok(Vec::new())), Err("it has no addresses".into()));
    }
}
