//! The words of health.

use serde::{Deserialize, Serialize};

/// How something is, the better the smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It works.
    Healthy,
    /// Nobody has said anything of it lately.
    Unknown,
    /// It works, less well.
    Degraded,
    /// It works, and is about to stop.
    Critical,
    /// It does not work.
    Unhealthy,
}

/// What kind of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A service of ours, as one of its processes says.
    Api,
    /// A database.
    Database,
    /// Redis.
    Redis,
    /// An engine.
    Engine,
    /// The processors of a machine.
    Cpu,
    /// The memory of a machine.
    Memory,
    /// The disks of a machine.
    Disk,
    /// The GPUs of an instance.
    Gpu,
    /// A part of a process.
    Part,
}
