//! How the machine is on which this process runs: read every ten seconds, its disks every five, by this module alone, and
//! shown by the meter.
//!
//! Processor and memory are those that the process may use: of its control group where that has a limit, else of the
//! machine. What the system does not say is `None`, and has no series.

mod cgroup;

use crate::{report, server::Tasks, telemetry::meter};
use cgroup::Processor;
use opentelemetry::KeyValue;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use sysinfo::{Disks, Networks, System};

/// Between two readings.
pub const EVERY: Duration = Duration::from_secs(10);
/// Between two readings of the disks: one that is full stops whatever writes to it.
const DISKS: Duration = Duration::from_secs(5);
/// A disk that has become so much fuller or emptier is told of at once.
const MOVED: f64 = 0.01;
/// Disks that are shown; a node may have very many mounts.
const MAX_DISKS: usize = 32;

/// What was read last.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// Busy part of the processors, from 0 to 1.
    pub cpu: Option<f64>,
    /// Used part of the memory, from 0 to 1.
    pub memory: Option<f64>,
    /// Used memory, in bytes.
    pub memory_bytes: Option<f64>,
    /// Used part of each disk that can be written, from 0 to 1, by where it is mounted.
    pub disks: Vec<(String, f64)>,
    /// Bytes received and sent since the machine started, on all interfaces but the loopback.
    pub network: Option<(u64, u64)>,
    /// TCP connections that are open.
    pub connections: Option<f64>,
    /// Processes that ran or wanted to, on average over one minute.
    pub load: Option<f64>,
}

/// The machine. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Machine(Arc<Mutex<Reading>>);

impl Machine {
    /// Reads again and again until the process is to end, and shows what was read. Once in a process.
    #[must_use]
    pub fn start(tasks: &Tasks) -> Self {
        let machine = Self::default();
        let mut eye = Eye::default();
        machine.note(eye.look());
        let noted = machine.clone();
        tasks.repeat(EVERY, move || {
            noted.note(eye.look());
            std::future::ready(())
        });
        let (mut list, mut told) = (Disks::new().ok(), Vec::new());
        let noted = machine.clone();
        tasks.repeat(DISKS, move || {
            let found = list.as_mut().map(disks).unwrap_or_default();
            noted.lock().disks.clone_from(&found);
            if moved(&told, &found) {
                told = found;
                report::turned();
            }
            std::future::ready(())
        });
        machine.show();
        machine
    }

    /// What was read last.
    #[must_use]
    pub fn reading(&self) -> Reading {
        self.lock().clone()
    }

    /// Takes over everything but the disks.
    fn note(&self, reading: Reading) {
        let mut known = self.lock();
        *known = Reading { disks: std::mem::take(&mut known.disks), ..reading };
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self) {
        self.gauge("tollgate.system.cpu.ratio", "Busy part of the processors", |reading| reading.cpu);
        self.gauge("tollgate.system.memory.ratio", "Used part of the memory", |reading| reading.memory);
        self.gauge("tollgate.system.memory.bytes", "Used memory", |reading| reading.memory_bytes);
        self.gauge("tollgate.system.connections", "Open TCP connections", |reading| reading.connections);
        self.gauge("tollgate.system.load1", "Processes that ran or wanted to, over a minute", |reading| {
            reading.load
        });
        let machine = self.clone();
        meter()
            .f64_observable_gauge("tollgate.system.disk.ratio")
            .with_description("Used part of each disk")
            .with_callback(move |observer| {
                for (mount, used) in machine.reading().disks {
                    observer.observe(used, &[KeyValue::new("mount", mount)]);
                }
            })
            .build();
        type Read = fn((u64, u64)) -> u64;
        let directions: [(&'static str, &'static str, Read); 2] = [
            ("tollgate.system.network.received", "Bytes received", |(received, _)| received),
            ("tollgate.system.network.sent", "Bytes sent", |(_, sent)| sent),
        ];
        for (name, description, read) in directions {
            let machine = self.clone();
            meter()
                .u64_observable_counter(name)
                .with_unit("By")
                .with_description(description)
                .with_callback(move |observer| {
                    if let Some(bytes) = machine.reading().network {
                        observer.observe(read(bytes), &[]);
                    }
                })
                .build();
        }
    }

    fn gauge(&self, name: &'static str, description: &'static str, read: fn(&Reading) -> Option<f64>) {
        let machine = self.clone();
        meter()
            .f64_observable_gauge(name)
            .with_description(description)
            .with_callback(move |observer| {
                if let Some(value) = read(&machine.reading()) {
                    observer.observe(value, &[]);
                }
            })
            .build();
    }
}

/// What has to be remembered between two readings.
#[derive(Debug)]
struct Eye {
    system: Option<System>,
    networks: Option<Networks>,
    processor: Option<(Instant, Processor)>,
    looked: bool,
}

impl Default for Eye {
    fn default() -> Self {
        Self { system: System::new().ok(), networks: Networks::new().ok(), processor: None, looked: false }
    }
}

impl Eye {
    fn look(&mut self) -> Reading {
        if let Some(system) = &mut self.system {
            system.refresh_memory();
            system.refresh_cpu_usage();
        }
        if let Some(networks) = &mut self.networks {
            networks.refresh(true);
        }
        let (memory, memory_bytes) = self.memory();
        Reading {
            cpu: self.cpu(),
            memory,
            memory_bytes,
            disks: Vec::new(),
            network: self.network(),
            connections: connections(),
            load: System::load_average().ok().map(|load| load.one).filter(|load| load.is_finite()),
        }
    }

    /// Of the time since the look before; nothing at the first one.
    fn cpu(&mut self) -> Option<f64> {
        let (before, now) = (self.processor.take(), Instant::now());
        self.processor = Processor::read().map(|processor| (now, processor));
        let limited = before
            .zip(self.processor.as_ref())
            .and_then(|((then, before), (now, after))| after.busy_since(&before, now.duration_since(then)));
        if !std::mem::replace(&mut self.looked, true) {
            return None;
        }
        let machine = self.system.as_ref().map(|system| f64::from(system.global_cpu_usage()) / 100.0);
        limited.or(machine).map(|busy| busy.clamp(0.0, 1.0))
    }

    fn memory(&self) -> (Option<f64>, Option<f64>) {
        let Some(system) = &self.system else { return (None, None) };
        let machine = (system.total_memory(), system.available_memory());
        // A group without a limit says the machine's, or none.
        let group = system.cgroup_limits().map(|group| (group.total_memory, group.free_memory));
        let (total, free) = group.filter(|(total, _)| *total > 0 && *total <= machine.0).unwrap_or(machine);
        if total == 0 {
            return (None, None);
        }
        let used = total.saturating_sub(free) as f64;
        (Some(used / total as f64), Some(used))
    }

    fn network(&self) -> Option<(u64, u64)> {
        let others = self.networks.iter().flatten().filter(|(name, _)| *name != "lo");
        let bytes = others.map(|(_, network)| (network.total_received(), network.total_transmitted()));
        bytes
            .reduce(|(received, sent), (more, out)| (received.saturating_add(more), sent.saturating_add(out)))
    }
}

/// Those that can be written, the fullest first.
fn disks(list: &mut Disks) -> Vec<(String, f64)> {
    list.refresh(true);
    let writable = list.iter().filter(|disk| disk.total_space() > 0 && !disk.is_read_only());
    let read = writable.map(|disk| {
        let free: f64 = disk.available_space() as f64 / disk.total_space() as f64;
        (disk.mount_point().display().to_string(), (1.0 - free).clamp(0.0, 1.0))
    });
    let mut disks: Vec<(String, f64)> = read.collect();
    disks.sort_by(|(one, _), (other, _)| one.cmp(other));
    disks.dedup_by(|(one, _), (other, _)| one == other);
    disks.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    disks.truncate(MAX_DISKS);
    disks
}

/// Whether a disk came, went, or is fuller or emptier by [`MOVED`] than it was told.
fn moved(told: &[(String, f64)], found: &[(String, f64)]) -> bool {
    let known = |mount: &str| told.iter().find(|(other, _)| other == mount).map(|(_, used)| *used);
    told.len() != found.len()
        || found.iter().any(|(mount, used)| known(mount).is_none_or(|told| (told - used).abs() >= MOVED))
}

/// From `/proc/net/sockstat` and its like for IPv6.
fn connections() -> Option<f64> {
    let pages = ["/proc/net/sockstat", "/proc/net/sockstat6"];
    let open = pages.iter().filter_map(|page| open_connections(&std::fs::read_to_string(page).ok()?));
    open.reduce(|one, other| one + other)
}

fn open_connections(sockstat: &str) -> Option<f64> {
    let line = sockstat.lines().find(|line| line.starts_with("TCP"))?;
    let mut words = line.split_ascii_whitespace().skip_while(|word| *word != "inuse");
    words.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_read() {
        let mut eye = Eye::default();
        assert_eq!(eye.look().cpu, None, "one look says nothing of a time");
        let reading = eye.look();
        assert!(reading.memory.is_some_and(|memory| (0.0..=1.0).contains(&memory)), "{reading:?}");
        assert!(reading.cpu.is_some_and(|cpu| (0.0..=1.0).contains(&cpu)), "{reading:?}");
        let disks = disks(&mut Disks::new().unwrap());
        assert!(disks.iter().all(|(_, used)| (0.0..=1.0).contains(used)), "{disks:?}");
    }

    #[test]
    fn a_disk_is_told_of_when_it_moved_by_a_hundredth_since_it_was_told() {
        let of = |all: &[(&str, f64)]| {
            all.iter().map(|(mount, used)| ((*mount).to_owned(), *used)).collect::<Vec<_>>()
        };
        let told = of(&[("/", 0.50), ("/data", 0.90)]);
        assert!(!moved(&told, &of(&[("/data", 0.905), ("/", 0.495)])));
        assert!(moved(&told, &of(&[("/data", 0.92), ("/", 0.50)])));
        assert!(moved(&told, &of(&[("/data", 0.88), ("/", 0.50)])));
        assert!(moved(&told, &of(&[("/data", 0.90)])));
        assert!(moved(&told, &of(&[("/data", 0.90), ("/new", 0.50)])));
        assert!(moved(&[], &told));
    }

    #[test]
    fn open_connections_are_counted() {
        let page = "sockets: used 3\nTCP: inuse 7 orphan 0 tw 2 alloc 9 mem 1\nUDP: inuse 1 mem 2\n";
        assert_eq!(open_connections(page), Some(7.0));
        assert_eq!(open_connections("TCP6: inuse 2\n"), Some(2.0));
        assert_eq!(open_connections("UDP: inuse 1\n"), None);
    }
}
