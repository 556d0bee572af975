//! The network address of whoever calls, found out once where a request arrives and left among its extensions.
//!
//! A socket knows who is at its other end. That may be a proxy: `x-forwarded-for` is believed only when its sender is
//! one of the configured networks, and thrown away otherwise. A server in the same process is always believed.

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use ipnet::IpNet;
use serde::Deserialize;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// The header in which proxies say for whom they ask.
pub const HEADER: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the client, found among a request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Networks whose word about their clients is taken.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl FromIterator<IpNet> for TrustedProxies {
    fn from_iter<T: IntoIterator<Item = IpNet>>(networks: T) -> Self {
        Self(networks.into_iter().collect())
    }
}

impl TrustedProxies {
    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Marks a request from a socket with its peer, and takes from it what the socket's other end may not say.
    pub fn receive<B>(&self, request: &mut Request<B>, socket: SocketAddr) {
        let sender = socket.ip().to_canonical();
        let peer = if self.trusts(sender) {
            self.client(sender, request.headers())
        } else {
            request.headers_mut().remove(HEADER);
            sender
        };
        request.extensions_mut().insert(Peer(peer));
    }

    /// The nearest address that is not a proxy of ours, or the farthest one when all are.
    fn client(&self, sender: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut nearest = sender;
        for address in named(headers) {
            // What stands farther away than something unreadable was said by somebody unknown.
            let Some(address) = address else { break };
            nearest = address;
            if !self.trusts(address) {
                break;
            }
        }
        nearest
    }
}

/// Marks a request from a server of this process with the peer that it names.
pub fn receive_in_process<B>(request: &mut Request<B>) {
    let peer = named(request.headers()).next().flatten();
    request.extensions_mut().remove::<Peer>();
    if let Some(peer) = peer {
        request.extensions_mut().insert(Peer(peer));
    }
}

/// Tells the next server for whom is asked, instead of what the headers said before.
pub fn tell(headers: &mut HeaderMap, peer: Option<Peer>) {
    headers.remove(HEADER);
    if let Some(value) = peer.and_then(|peer| HeaderValue::from_str(&peer.0.to_string()).ok()) {
        headers.insert(HEADER, value);
    }
}

/// The addresses that the header names, the nearest first; `None` for what is none.
fn named(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let lines = headers.get_all(HEADER).iter().collect::<Vec<_>>().into_iter().rev();
    lines.flat_map(|line| {
        let line = line.to_str().unwrap_or("?");
        line.rsplit(',').map(|text| address(text.trim())).collect::<Vec<_>>()
    })
}

/// An address as proxies write it: alone, with a port, in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let socket = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().ok().or_else(socket).or_else(bracketed).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(trusted: &[&str], socket: &str, lines: &[&str]) -> (String, bool) {
        let trusted: TrustedProxies = trusted.iter().map(|net| net.parse::<IpNet>().unwrap()).collect();
        let mut request = Request::new(());
        for line in lines {
            request.headers_mut().append(HEADER, line.parse().unwrap());
        }
        trusted.receive(&mut request, format!("{socket}:1234").parse().unwrap());
        let Peer(peer) = *request.extensions().get().unwrap();
        (peer.to_string(), request.headers().contains_key(HEADER))
    }

    fn is(address: &str, kept: bool) -> (String, bool) {
        (address.to_owned(), kept)
    }

    #[test]
    fn nobody_is_believed_unless_trusted() {
        assert_eq!(peer(&[], "192.0.2.1", &["198.51.100.9"]), is("192.0.2.1", false));
        assert_eq!(peer(&["10.0.0.0/8"], "192.0.2.1", &["10.0.0.1"]), is("192.0.2.1", false));
        assert_eq!(peer(&["10.0.0.0/8"], "10.0.0.1", &["198.51.100.9"]), is("198.51.100.9", true));
        assert_eq!(peer(&["10.0.0.0/8"], "[::ffff:10.0.0.1]", &["198.51.100.9"]), is("198.51.100.9", true));
    }

    #[test]
    fn the_nearest_untrusted_address_is_the_client() {
        let trusted = ["10.0.0.0/8"];
        let forged = "203.0.113.1, 198.51.100.9, 10.0.0.2";
        assert_eq!(peer(&trusted, "10.0.0.1", &[forged]), is("198.51.100.9", true));
        let lines = ["203.0.113.1", "198.51.100.9", "10.0.0.2"];
        assert_eq!(peer(&trusted, "10.0.0.1", &lines), is("198.51.100.9", true));
        assert_eq!(peer(&trusted, "10.0.0.1", &["10.0.0.3, 10.0.0.2"]), is("10.0.0.3", true));
        assert_eq!(peer(&trusted, "10.0.0.1", &["198.51.100.9, unknown"]), is("10.0.0.1", true));
        assert_eq!(peer(&trusted, "10.0.0.1", &["[2001:db8::1]:80"]), is("2001:db8::1", true));
        assert_eq!(peer(&trusted, "10.0.0.1", &["[2001:db8::1]"]), is("2001:db8::1", true));
        assert_eq!(peer(&trusted, "10.0.0.1", &["198.51.100.9:4711"]), is("198.51.100.9", true));
        assert_eq!(peer(&trusted, "10.0.0.1", &[]), is("10.0.0.1", false));
    }

    #[test]
    fn a_server_in_the_process_is_believed_and_says_only_what_it_found_out() {
        let mut request = Request::new(());
        request.headers_mut().append(HEADER, "198.51.100.9".parse().unwrap());
        tell(request.headers_mut(), Some(Peer("192.0.2.1".parse().unwrap())));
        request.extensions_mut().insert(Peer("203.0.113.1".parse().unwrap()));
        receive_in_process(&mut request);
        assert_eq!(request.extensions().get(), Some(&Peer("192.0.2.1".parse().unwrap())));
        tell(request.headers_mut(), None);
        receive_in_process(&mut request);
        assert_eq!(request.extensions().get::<Peer>(), None);
    }
}
