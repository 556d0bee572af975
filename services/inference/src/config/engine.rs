//! Settings of how engines are found, used and judged.

use serde::Deserialize;
use shared::tls::Trust;
use std::{path::PathBuf, time::Duration};

/// How each engine is used.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Engine {
    /// Requests in flight at one engine. vLLM's own `--max-num-seqs` default is 256.
    pub max_in_flight: u32,
    /// Time to connect.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// From sending to the first token of a stream.
    #[serde(with = "humantime_serde")]
    pub first_token_timeout: Duration,
    /// From sending to an answer that is not streamed: engines send its head when all of it is made.
    #[serde(with = "humantime_serde")]
    pub answer_timeout: Duration,
    /// Between two pieces of an answer.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// For a whole request.
    #[serde(with = "humantime_serde")]
    pub total_timeout: Duration,
    /// From the beginning of one health check to that of the next.
    #[serde(with = "humantime_serde")]
    pub check_interval: Duration,
    /// For one health check.
    #[serde(with = "humantime_serde")]
    pub check_timeout: Duration,
    /// Between two readings of an engine's `/metrics`.
    #[serde(with = "humantime_serde")]
    pub scrape_interval: Duration,
    /// Between two looks at a `dns://` name.
    #[serde(with = "humantime_serde")]
    pub resolve_interval: Duration,
    /// Engines tried for one request, before its first byte.
    pub attempts: u32,
    /// Whether an answer that breaks off in the middle goes on at another engine, where that can be exact.
    pub resume: bool,
    /// Whether engines are told how urgent a request is: only when they run with `--scheduling-policy priority`.
    pub tell_priority: bool,
    /// When an engine is asked for a token.
    pub probe: Probe,
    /// What failures in a row lead to.
    pub breaker: Breaker,
    /// What doing worse than one's peers leads to.
    pub ejection: Ejection,
    /// How often requests are tried again.
    pub retry: Retry,
}

/// When an engine is asked for one real token, past the queue and the ledger.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Probe {
    /// Streams without any token for so long make an engine suspicious.
    #[serde(with = "humantime_serde")]
    pub silence: Duration,
    /// Between two probes of a suspicious engine.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// For one probe.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// An engine that nothing was heard of for so long is probed too. 0s: never.
    #[serde(with = "humantime_serde")]
    pub idle: Duration,
}

/// The breaker of each engine.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it stays open the first time.
    #[serde(with = "humantime_serde")]
    pub open: Duration,
    /// How long at most, doubled each time that its probe fails.
    #[serde(with = "humantime_serde")]
    pub max_open: Duration,
}

/// When an engine is taken out for doing worse than its peers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ejection {
    /// Between two comparisons.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// Requests that an engine must have had in between to be compared.
    pub requests: u32,
    /// Part of an engine's peers, itself included, that may be out at once, 0 to 1.
    pub share: f64,
    /// How long it is out the first time; the second time twice as long, and so on.
    #[serde(with = "humantime_serde")]
    pub time: Duration,
    /// How long at most; so long without an ejection, and the next is a first one again.
    #[serde(with = "humantime_serde")]
    pub max_time: Duration,
}

/// How often requests are tried again, before their first byte.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Part of the requests of a window, 0 to 1.
    pub share: f64,
    /// Retries that a window allows whatever the traffic.
    pub minimum: u32,
    /// The window.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// Before the first retry, doubled for each further one; up to half of it is left to chance.
    #[serde(with = "humantime_serde")]
    pub back_off: Duration,
    /// At most so long.
    #[serde(with = "humantime_serde")]
    pub max_back_off: Duration,
    /// The same for requests of class batch, for which nobody waits.
    #[serde(with = "humantime_serde")]
    pub batch_back_off: Duration,
    /// At most so long.
    #[serde(with = "humantime_serde")]
    pub batch_max_back_off: Duration,
}

/// The API server that `k8s://` engines are found at.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kubernetes {
    /// Its base URL.
    pub server: String,
    /// The service account's token. It is read again for every request, because it is renewed.
    pub token_file: PathBuf,
    /// Whom the server is trusted as.
    pub tls: Trust,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            max_in_flight: 256,
            connect_timeout: Duration::from_secs(2),
            first_token_timeout: Duration::from_secs(120),
            answer_timeout: Duration::from_secs(10 * 60),
            idle_timeout: Duration::from_secs(60),
            total_timeout: Duration::from_secs(30 * 60),
            check_interval: Duration::from_secs(2),
            check_timeout: Duration::from_secs(2),
            scrape_interval: Duration::from_secs(1),
            resolve_interval: Duration::from_secs(5),
            attempts: 3,
            resume: false,
            tell_priority: false,
            probe: Probe::default(),
            breaker: Breaker::default(),
            ejection: Ejection::default(),
            retry: Retry::default(),
        }
    }
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(10),
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(5),
            idle: Duration::from_secs(60),
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failures: 5, open: Duration::from_secs(60), max_open: Duration::from_secs(5 * 60) }
    }
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            requests: 20,
            // One of three, but none of two: of two that differ, nobody knows which is odd.
            share: 0.34,
            time: Duration::from_secs(30),
            max_time: Duration::from_secs(5 * 60),
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            share: 0.1,
            // More than the failures that open a breaker, so that an engine's end alone refuses nobody.
            minimum: 10,
            window: Duration::from_secs(10),
            back_off: Duration::from_millis(20),
            max_back_off: Duration::from_millis(200),
            batch_back_off: Duration::from_secs(1),
            batch_max_back_off: Duration::from_secs(60),
        }
    }
}

impl Default for Kubernetes {
    fn default() -> Self {
        let account = PathBuf::from("/var/run/secrets/kubernetes.io/serviceaccount");
        Self {
            server: "https://kubernetes.default.svc".into(),
            token_file: account.join("token"),
            tls: Trust { ca_file: Some(account.join("ca.crt")), ..Trust::default() },
        }
    }
}

impl Engine {
    /// Adds one sentence per fault.
    pub(super) fn validate(&self, faults: &mut Vec<String>) {
        let counts = [
            ("max_in_flight", self.max_in_flight),
            ("attempts", self.attempts),
            ("breaker.failures", self.breaker.failures),
            ("ejection.requests", self.ejection.requests),
        ];
        for (key, _) in counts.into_iter().filter(|(_, value)| *value == 0) {
            faults.push(format!("inference.engine.{key}: must be at least 1"));
        }
        let times = [
            ("check_interval", self.check_interval),
            ("check_timeout", self.check_timeout),
            ("scrape_interval", self.scrape_interval),
            ("resolve_interval", self.resolve_interval),
            ("probe.interval", self.probe.interval),
            ("probe.timeout", self.probe.timeout),
            ("ejection.interval", self.ejection.interval),
            ("retry.window", self.retry.window),
        ];
        for (key, _) in times.into_iter().filter(|(_, value)| value.is_zero()) {
            faults.push(format!("inference.engine.{key}: must be longer than 0s"));
        }
        let shares = [("ejection.share", self.ejection.share), ("retry.share", self.retry.share)];
        for (key, _) in shares.into_iter().filter(|(_, value)| !(0.0..=1.0).contains(value)) {
            faults.push(format!("inference.engine.{key}: must be between 0 and 1"));
        }
    }
}

impl Kubernetes {
    /// Adds one sentence per fault.
    pub(super) fn validate(&self, faults: &mut Vec<String>) {
        if !self
            .server
            .parse()
            .is_ok_and(|uri: http::Uri| uri.authority().is_some() && uri.scheme().is_some())
        {
            faults.push(format!(
                "inference.kubernetes.server: `{}` is not a URL like https://kubernetes.default.svc",
                self.server
            ));
        }
        if let Err(error) = std::fs::metadata(&self.token_file) {
            let file = self.token_file.display();
            faults.push(format!("inference.kubernetes.token_file: {file}: {error}"));
        }
        self.tls.validate("inference.kubernetes.tls", faults);
    }
}
