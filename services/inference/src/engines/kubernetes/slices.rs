//! What the EndpointSlices of a service say: which engines there are. Pure.
//!
//! A service has several slices, each with its own ports, and with two address families the same pod stands in two.

use super::super::{
    roster::Found,
    source::{Port, Scheme},
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The slices of one service, by name.
#[derive(Debug, Default)]
pub(super) struct Slices {
    by_name: BTreeMap<String, Slice>,
}

/// A slice, as far as it matters here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Slice {
    pub(super) metadata: Metadata,
    #[serde(default)]
    address_type: String,
    #[serde(default)]
    endpoints: Option<Vec<Endpoint>>,
    #[serde(default)]
    ports: Option<Vec<SlicePort>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) resource_version: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    conditions: Conditions,
    #[serde(default)]
    target_ref: Option<TargetRef>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct TargetRef {
    #[serde(default)]
    uid: String,
}

#[derive(Debug, Deserialize)]
struct SlicePort {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    port: Option<u16>,
}

impl Slices {
    /// The slices of a list, and no others.
    pub(super) fn replace(&mut self, slices: Vec<Slice>) {
        self.by_name = slices.into_iter().map(|slice| (slice.metadata.name.clone(), slice)).collect();
    }

    /// A slice is new or has changed.
    pub(super) fn put(&mut self, slice: Slice) {
        self.by_name.insert(slice.metadata.name.clone(), slice);
    }

    /// A slice is gone.
    pub(super) fn remove(&mut self, slice: &Slice) {
        self.by_name.remove(&slice.metadata.name);
    }

    /// The engines that follow.
    pub(super) fn engines(&self, scheme: Scheme, port: &Port) -> Found {
        let mut found = BTreeMap::new();
        let mut pods = BTreeMap::new();
        let mut slices: Vec<&Slice> = self.by_name.values().collect();
        // One address of a pod is enough, and everybody can reach the older kind.
        slices.sort_by_key(|slice| slice.address_type != "IPv4");
        for slice in slices {
            let Some(port) = slice.port(port) else { continue };
            for endpoint in slice.endpoints.iter().flatten() {
                let Some(address) = endpoint.addresses.first() else { continue };
                let pod = endpoint.target_ref.as_ref().map_or("", |target| target.uid.as_str());
                if !pod.is_empty() && *pods.entry(pod).or_insert(&slice.address_type) != &slice.address_type {
                    continue;
                }
                let url = match slice.address_type.as_str() {
                    "IPv6" => format!("{scheme}://[{address}]:{port}"),
                    _ => format!("{scheme}://{address}:{port}"),
                };
                if let Some(standing) = endpoint.conditions.standing() {
                    found.insert(url, standing);
                }
            }
        }
        found.into_iter().collect()
    }
}

impl Slice {
    fn port(&self, wanted: &Port) -> Option<u16> {
        match wanted {
            Port::Number(number) => Some(*number),
            Port::Name(name) => {
                let ports = self.ports.iter().flatten();
                ports.filter(|port| port.name.as_ref() == Some(name)).find_map(|port| port.port)
            }
        }
    }
}

impl Conditions {
    /// `None` when it is no engine yet; else why it leaves, if it does. What is not said means ready.
    fn standing(&self) -> Option<Option<String>> {
        let ready = self.ready.unwrap_or(true);
        match (self.terminating.unwrap_or(false), self.serving.unwrap_or(ready)) {
            (true, true) => Some(Some("its pod is being ended; it finishes what it has".into())),
            (true, false) => Some(Some("its pod is being ended and serves no more".into())),
            (false, _) if ready => Some(None),
            (false, _) => Some(Some("its pod is not ready".into())),
        }
    }
}

#[cfg(test)]
mod tests;
