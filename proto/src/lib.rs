//! The contract: everything that crosses a process boundary, generated from `proto/tollgate/**`.
//!
//! One module per package, the encoded descriptors (reflection and the REST edge read them), and the
//! access table that the authentication layer enforces.

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
}

/// The access table, one row per method of the contract. What is not in it is refused to everyone.
pub const ACCESS: &[Row] = include!(concat!(env!("OUT_DIR"), "/access.rs"));
