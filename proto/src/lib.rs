//! The contract: everything that crosses a process boundary, generated from `proto/tollgate/**`.
//!
//! One module per package, the encoded descriptors (reflection and the REST edge read them), and the
//! access table that the authentication layer enforces.

use std::{collections::HashMap, sync::LazyLock};

/// Words that several packages share.
pub mod common {
    /// Package `tollgate.common.v1`.
    pub mod v1 {
        tonic::include_proto!("tollgate.common.v1");
    }
}

/// The permissions service.
pub mod permissions {
    /// Package `tollgate.permissions.v1`.
    pub mod v1 {
        tonic::include_proto!("tollgate.permissions.v1");
    }
}

/// The inference service.
pub mod inference {
    /// Package `tollgate.inference.v1`.
    pub mod v1 {
        tonic::include_proto!("tollgate.inference.v1");
    }
}

/// The monitoring service.
pub mod monitoring {
    /// Package `tollgate.monitoring.v1`.
    pub mod v1 {
        tonic::include_proto!("tollgate.monitoring.v1");
    }
}

/// KEDA's external scaler.
#[expect(missing_docs, reason = "the names are KEDA's")]
pub mod externalscaler {
    tonic::include_proto!("externalscaler");
}

/// The encoded `FileDescriptorSet` of the contract, imports included.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Who may call one method.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The method as it stands in a request: `/package.Service/Method`.
    pub path: &'static str,
    /// Numbers of `tollgate.common.v1.Role`.
    pub roles: &'static [i32],
    /// Whether another service may call.
    pub service: bool,
    /// Whether anybody may call, without a credential.
    pub public: bool,
    /// Number of the `tollgate.common.v1.Scope` that a narrowed credential needs.
    pub scope: i32,
    /// Whether its request or its answer is a stream.
    pub streams: bool,
}

/// A request that changes something.
pub trait Mutation: prost::Message {
    /// What it is answered with.
    type Answer: Written + prost::Message + Default;
    /// The method as it stands in a request: `/package.Service/Method`.
    const PATH: &'static str;
    /// Why, in the caller's words.
    fn reason(&self) -> &str;
    /// What makes a repetition recognisable; empty: nothing.
    fn request_id(&self) -> &str;
    /// Whether nothing is to be changed after all.
    fn validate_only(&self) -> bool;
    /// Whether the answer is to wait until every replica has the change.
    fn urgent(&self) -> bool {
        false
    }
}

/// An answer that carries the revision token of a write.
pub trait Written {
    /// The token, once it was put in.
    fn token(&self) -> &str;
    /// Puts the token in.
    fn set_token(&mut self, token: String);
    /// Names the replicas that do not have the write yet, where the answer can.
    fn set_laggards(&mut self, _laggards: Vec<String>) {}
}

include!(concat!(env!("OUT_DIR"), "/mutations.rs"));

// What holds a secret is shown without it.
include!(concat!(env!("OUT_DIR"), "/redacted.rs"));

/// The access table, one row per method of the contract. What is not in it is refused to everyone.
pub const ACCESS: &[Row] = include!(concat!(env!("OUT_DIR"), "/access.rs"));

/// The row of a method, as it stands in a request.
#[must_use]
pub fn access(path: &str) -> Option<&'static Row> {
    static ROWS: LazyLock<HashMap<&'static str, &'static Row>> =
        LazyLock::new(|| ACCESS.iter().map(|row| (row.path, row)).collect());
    ROWS.get(path).copied()
}
