//! GPUs as `nvidia-smi` tells them, or [`nvml`]. What is not told is missing, which is not zero; a read that failed says
//! nothing at all. GPUs are known by their UUID: their numbers change when one is lost.

pub(crate) mod nvml;

use crate::config::{self, Config};
use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::process::Command;

/// What is asked, in this order.
const FIELDS: &str = "index,uuid,name,utilization.gpu,utilization.memory,memory.used,memory.total,temperature.gpu,\
     power.draw,power.limit,clocks.sm,ecc.errors.uncorrected.volatile.total,driver_version";

/// Longest time that a read may take: a GPU that fell off the bus keeps the driver waiting.
const LIMIT: Duration = Duration::from_secs(8);

const MIB: f64 = 1024.0 * 1024.0;

/// One GPU.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Gpu {
    pub(crate) uuid: String,
    pub(crate) name: String,
    /// Part of the time in which any kernel ran, 0 to 1.
    pub(crate) usage: Option<f64>,
    /// Bytes.
    pub(crate) memory_used: Option<f64>,
    pub(crate) memory_total: Option<f64>,
    /// Degrees Celsius.
    pub(crate) temperature: Option<f64>,
    /// Watt.
    pub(crate) power: Option<f64>,
}

/// Where GPUs are read.
#[derive(Debug)]
pub(crate) enum Source {
    /// Nowhere.
    None,
    Program(PathBuf),
    Library(nvml::Library),
}

impl Source {
    pub(crate) fn new(config: &Config) -> Self {
        match config.gpu {
            config::Gpu::Off => Self::None,
            config::Gpu::NvidiaSmi => Self::Program(config.nvidia_smi.clone()),
            config::Gpu::Nvml => Self::Library(nvml::Library::new(config.nvml.clone())),
        }
    }

    /// Reads all GPUs of this machine.
    ///
    /// # Errors
    /// When there is no such program or library, it failed, or it took too long.
    pub(crate) async fn read(&mut self) -> io::Result<Vec<Gpu>> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "GPUs were not read in time");
        match self {
            Self::None => Ok(Vec::new()),
            Self::Program(program) => tokio::time::timeout(LIMIT, run(program)).await.map_err(late)?,
            Self::Library(library) => tokio::time::timeout(LIMIT, library.read()).await.map_err(late)?,
        }
    }
}

async fn run(program: &Path) -> io::Result<Vec<Gpu>> {
    let mut command = Command::new(program);
    command.arg(format!("--query-gpu={FIELDS}")).arg("--format=csv,noheader,nounits");
    command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = command.output().await?;
    if !output.status.success() {
        return Err(io::Error::other(format!("nvidia-smi ended with {}", output.status)));
    }
    Ok(parse(&output.stdout))
}

/// Reads what it prints; a line that is no GPU is passed over.
fn parse(csv: &[u8]) -> Vec<Gpu> {
    let mut reader = csv::ReaderBuilder::new();
    reader.has_headers(false).flexible(true).trim(csv::Trim::All);
    reader.from_reader(csv).into_records().filter_map(|record| gpu(&record.ok()?)).collect()
}

fn gpu(record: &csv::StringRecord) -> Option<Gpu> {
    let uuid = record.get(1).filter(|uuid| uuid.starts_with("GPU-") || uuid.starts_with("MIG-"))?;
    // `[N/A]`, `[Not Supported]`, `[Unknown Error]`: whatever is no number was not told.
    let number = |at: usize| {
        let number: Option<f64> = record.get(at)?.parse().ok();
        number.filter(|number| number.is_finite() && *number >= 0.0)
    };
    Some(Gpu {
        uuid: uuid.to_owned(),
        name: record.get(2).unwrap_or_default().to_owned(),
        usage: number(3).map(|percent| (percent / 100.0).min(1.0)),
        memory_used: number(5).map(|mib| mib * MIB),
        memory_total: number(6).map(|mib| mib * MIB),
        temperature: number(7),
        power: number(8),
    })
}

/// The mean of what several tell; none when nobody does.
pub(crate) fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let told: Vec<f64> = values.flatten().collect();
    (!told.is_empty()).then(|| told.iter().sum::<f64>() / told.len() as f64)
}

/// The sum of what all tell; none when one does not.
pub(crate) fn sum(mut values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    values.try_fold(None, |sum: Option<f64>, value| Some(Some(sum.unwrap_or(0.0) + value?))).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[u8] = b"0, GPU-5f1d0a2c-7a39-4c5e-9d3e-1a2b3c4d5e6f, NVIDIA L4, 87, 41, 20345, 23034, 64, 68.51, 72.00, 2040, 0, 550.90.07\n\
1, GPU-9c2e4b1a-11d7-4e0f-8f6a-6f5e4d3c2b1a, NVIDIA L4, 3, 1, 512, 23034, 41, 16.40, 72.00, 210, 0, 550.90.07\n";

    /// A MIG parent: its use cannot be told as a whole.
    const MIG: &[u8] = b"0, GPU-0aa1b2c3-d4e5-46f7-8899-aabbccddeeff, NVIDIA A100-SXM4-80GB, [N/A], [N/A], 61440, 81920, 55, 212.34, 400.00, 1410, 0, 535.183.01\n";

    /// A consumer card without error correction, and one that the driver has lost.
    const PARTLY: &[u8] = b"0, GPU-11111111-2222-3333-4444-555555555555, NVIDIA GeForce RTX 4090, 12, 4, 2048, 24564, 38, [Not Supported], 450.00, 2520, [N/A], 550.90.07\n\
1, GPU-66666666-7777-8888-9999-aaaaaaaaaaaa, NVIDIA GeForce RTX 4090, [Unknown Error], [Unknown Error], [Unknown Error], 24564, [Unknown Error], [Unknown Error], 450.00, [Unknown Error], [N/A], 550.90.07\n";

    #[test]
    fn every_gpu_is_read_with_its_units() {
        let gpus = parse(TWO);
        assert_eq!(gpus.len(), 2);
        assert_eq!(gpus[0].uuid, "GPU-5f1d0a2c-7a39-4c5e-9d3e-1a2b3c4d5e6f");
        assert_eq!((gpus[0].usage, gpus[0].memory_used), (Some(0.87), Some(20_345.0 * MIB)));
        assert_eq!((gpus[1].temperature, gpus[1].power), (Some(41.0), Some(16.4)));
        let mean = mean(gpus.iter().map(|gpu| gpu.usage)).unwrap();
        assert!((mean - 0.45).abs() < 1e-9, "{mean}");
        assert_eq!(sum(gpus.iter().map(|gpu| gpu.memory_total)), Some(46_068.0 * MIB));
    }

    #[test]
    fn what_is_not_told_is_missing() {
        let mig = parse(MIG);
        assert_eq!((mig[0].usage, mig[0].memory_used), (None, Some(61_440.0 * MIB)));
        let partly = parse(PARTLY);
        assert_eq!((partly[0].power, partly[1].usage), (None, None));
        assert_eq!(mean(partly.iter().map(|gpu| gpu.usage)), Some(0.12), "of those that tell");
        assert_eq!(sum(partly.iter().map(|gpu| gpu.memory_used)), None, "a part is no whole");
        assert_eq!(mean(std::iter::empty()), None);
    }

    #[test]
    fn words_in_place_of_gpus_are_passed_over() {
        let failed = b"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n";
        assert!(
            parse(failed).is_empty() && parse(b"").is_empty() && parse(b"No devices were found\n").is_empty()
        );
    }

    #[tokio::test]
    async fn a_read_that_fails_says_nothing() {
        for program in ["/nowhere/nvidia-smi", "/bin/false"] {
            assert!(Source::Program(program.into()).read().await.is_err());
        }
    }
}
