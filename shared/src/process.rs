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

/// Bytes of memory that this process holds, where the system says.
#[must_use]
pub fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
