//! Where engines come from: an entry of `inference.engines`, read.

use std::{fmt, str::FromStr};

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// One engine, by its base URL.
    Url(String),
    /// Every address of a name is an engine.
    Dns {
        /// How engines are spoken to.
        scheme: Scheme,
        /// The name.
        host: String,
        /// Their port.
        port: u16,
    },
    /// Every endpoint of a Kubernetes service is an engine.
    Kubernetes {
        /// How engines are spoken to.
        scheme: Scheme,
        /// Where the service is.
        namespace: String,
        /// The service.
        service: String,
        /// Their port.
        port: Port,
    },
}

/// How engines are spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS, as `inference.engine_tls` says.
    Https,
}

/// A port of a Kubernetes service's endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// By its number.
    Number(u16),
    /// By the name that the service gives it.
    Name(String),
}

/// What an entry should have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a URL like http://10.0.0.7:8000 or https://engine:8000 (no path), nor dns://name:8000, nor \
     k8s://namespace/service:port; dns+https and k8s+https are for engines that speak TLS"
)]
pub struct NotASource;

impl FromStr for Source {
    type Err = NotASource;

    fn from_str(entry: &str) -> Result<Self, NotASource> {
        let (kind, rest) = entry.split_once("://").ok_or(NotASource)?;
        match kind {
            "http" | "https" => url(entry),
            "dns" => dns(Scheme::Http, rest),
            "dns+https" => dns(Scheme::Https, rest),
            "k8s" => kubernetes(Scheme::Http, rest),
            "k8s+https" => kubernetes(Scheme::Https, rest),
            _ => Err(NotASource),
        }
    }
}

fn url(entry: &str) -> Result<Source, NotASource> {
    let uri: http::Uri = entry.parse().map_err(|_| NotASource)?;
    let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    let plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    if bare && plain { Ok(Source::Url(entry.trim_end_matches('/').to_owned())) } else { Err(NotASource) }
}

fn dns(scheme: Scheme, rest: &str) -> Result<Source, NotASource> {
    let (host, port) = rest.trim_end_matches('/').rsplit_once(':').ok_or(NotASource)?;
    let port = port.parse().map_err(|_| NotASource)?;
    if !is_name(host) {
        return Err(NotASource);
    }
    Ok(Source::Dns { scheme, host: host.to_owned(), port })
}

fn kubernetes(scheme: Scheme, rest: &str) -> Result<Source, NotASource> {
    let (namespace, service) = rest.trim_end_matches('/').split_once('/').ok_or(NotASource)?;
    let (service, port) = service.split_once(':').ok_or(NotASource)?;
    if ![namespace, service, port].into_iter().all(is_name) {
        return Err(NotASource);
    }
    let port = port.parse().map_or_else(|_| Port::Name(port.to_owned()), Port::Number);
    let (namespace, service) = (namespace.to_owned(), service.to_owned());
    Ok(Source::Kubernetes { scheme, namespace, service, port })
}

fn is_name(text: &str) -> bool {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '_');
    !text.is_empty() && text.chars().all(letter)
}

impl fmt::Display for Scheme {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read() {
        let read = |entry: &str| entry.parse::<Source>();
        assert_eq!(read("http://10.0.0.7:8000/"), Ok(Source::Url("http://10.0.0.7:8000".into())));
        let dns = |scheme| Source::Dns { scheme, host: "vllm.default.svc".into(), port: 8000 };
        assert_eq!(read("dns://vllm.default.svc:8000"), Ok(dns(Scheme::Http)));
        assert_eq!(read("dns+https://vllm.default.svc:8000"), Ok(dns(Scheme::Https)));
        let service = |scheme, port| Source::Kubernetes {
            scheme,
            namespace: "llm".into(),
            service: "vllm".into(),
            port,
        };
        assert_eq!(read("k8s://llm/vllm:8000"), Ok(service(Scheme::Http, Port::Number(8000))));
        assert_eq!(read("k8s+https://llm/vllm:http"), Ok(service(Scheme::Https, Port::Name("http".into()))));
    }

    #[test]
    fn what_is_none_is_refused() {
        for entry in [
            "10.0.0.7:8000",
            "ftp://engine",
            "http://engine:8000/v1",
            "http://user:secret@engine:8000",
            "http://engine:8000?x=1",
            "dns://name",
            "dns://:8000",
            "dns://name:http",
            "k8s://vllm:8000",
            "k8s://llm/vllm",
            "k8s://llm/vllm:",
            "k8s://llm/a/b:8000",
            "k8s://llm?x/vllm:8000",
        ] {
            assert_eq!(entry.parse::<Source>(), Err(NotASource), "{entry}");
        }
    }
}
