//! How people know this process among others.

/// The name of the host.
#[must_use]
pub fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = Some(host.trim()).filter(|host| !host.is_empty()).unwrap_or("localhost");
    host.to_owned()
}

/// Host and process id, such as `gateway-1:4711`.
#[must_use]
pub fn name() -> String {
    format!("{}:{}", host(), std::process::id())
}
