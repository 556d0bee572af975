//! GPUs as NVIDIA's management library tells them, for machines where a program every few seconds is too much.

use super::Gpu;
use nvml_wrapper::{Nvml, enum_wrappers::device::TemperatureSensor, error::NvmlError};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::task::JoinHandle;

/// The library, opened as soon as it can be.
#[derive(Debug)]
pub(crate) struct Library {
    path: PathBuf,
    open: Option<Arc<Nvml>>,
    /// A read that has not come back: a GPU that fell off the bus keeps the driver waiting.
    reading: Option<JoinHandle<Result<Vec<Gpu>, NvmlError>>>,
}

impl Library {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, open: None, reading: None }
    }

    /// Reads all GPUs of this machine. When it is given up, the next one goes on waiting for the same answer.
    ///
    /// # Errors
    /// When there is no such library, or it does not answer.
    pub(crate) async fn read(&mut self) -> io::Result<Vec<Gpu>> {
        let reading = match &mut self.reading {
            Some(reading) => reading,
            None => {
                let library = self.library().map_err(io::Error::other)?;
                self.reading.insert(tokio::task::spawn_blocking(move || all(&library)))
            }
        };
        let read = reading.await;
        self.reading = None;
        read.map_err(io::Error::other)?.map_err(io::Error::other)
    }

    fn library(&mut self) -> Result<Arc<Nvml>, NvmlError> {
        if let Some(open) = &self.open {
            return Ok(Arc::clone(open));
        }
        let open = Arc::new(open(&self.path)?);
        Ok(Arc::clone(self.open.insert(open)))
    }
}

fn open(path: &Path) -> Result<Nvml, NvmlError> {
    Nvml::builder().lib_path(path.as_os_str()).init()
}

fn all(library: &Nvml) -> Result<Vec<Gpu>, NvmlError> {
    (0..library.device_count()?).map(|at| gpu(library, at)).collect()
}

fn gpu(library: &Nvml, at: u32) -> Result<Gpu, NvmlError> {
    let device = library.device_by_index(at)?;
    // What a GPU does not support it does not tell.
    let memory = device.memory_info().ok();
    Ok(Gpu {
        uuid: device.uuid()?,
        name: device.name().unwrap_or_default(),
        usage: device.utilization_rates().ok().map(|rates| (f64::from(rates.gpu) / 100.0).min(1.0)),
        memory_used: memory.as_ref().map(|memory| memory.used as f64),
        memory_total: memory.as_ref().map(|memory| memory.total as f64),
        temperature: device.temperature(TemperatureSensor::Gpu).ok().map(f64::from),
        power: device.power_usage().ok().map(|milliwatt| f64::from(milliwatt) / 1_000.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, process::Command};

    /// The library as a machine with two GPUs has it, the second of which does not tell its use, memory and power.
    const TWO: &str = r#"
        #include <stdio.h>
        typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2;
        typedef struct { unsigned gpu, memory; } rates;
        int nvmlInit_v2(void) { return 0; }
        int nvmlShutdown(void) { return 0; }
        int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
        int nvmlDeviceGetHandleByIndex_v2(unsigned at, void **device) { *device = (void *)(size_t)(at + 1); return 0; }
        int nvmlDeviceGetUUID(void *device, char *text, unsigned length) {
            snprintf(text, length, "GPU-5f1d0a2c-7a39-4c5e-9d3e-00000000000%d", (int)(size_t)device); return 0; }
        int nvmlDeviceGetName(void *device, char *text, unsigned length) { snprintf(text, length, "NVIDIA L4"); return 0; }
        int nvmlDeviceGetUtilizationRates(void *device, rates *use) {
            if ((size_t)device == 2) return 3; use->gpu = 87; use->memory = 41; return 0; }
        int nvmlDeviceGetMemoryInfo_v2(void *device, memory_v2 *memory) {
            if ((size_t)device == 2) return 3;
            memory->total = 24152899584ULL; memory->used = 21333278720ULL; return 0; }
        int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius) { *celsius = 64; return 0; }
        int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatt) {
            if ((size_t)device == 2) return 3; *milliwatt = 68510; return 0; }
    "#;

    fn library(folder: &Path) -> PathBuf {
        let (source, library) = (folder.join("nvml.c"), folder.join("libnvidia-ml.so.1"));
        fs::write(&source, TWO).unwrap();
        let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
        assert!(built.unwrap().success());
        library
    }

    #[tokio::test]
    async fn what_a_gpu_tells_is_read_and_what_it_does_not_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let gpus = Library::new(library(folder.path())).read().await.unwrap();
        assert_eq!(gpus.len(), 2);
        let first = Gpu {
            uuid: "GPU-5f1d0a2c-7a39-4c5e-9d3e-000000000001".into(),
            name: "NVIDIA L4".into(),
            usage: Some(0.87),
            memory_used: Some(21_333_278_720.0),
            memory_total: Some(24_152_899_584.0),
            temperature: Some(64.0),
            power: Some(68.51),
        };
        assert_eq!(gpus[0], first);
        let second = Gpu {
            uuid: "GPU-5f1d0a2c-7a39-4c5e-9d3e-000000000002".into(),
            usage: None,
            memory_used: None,
            memory_total: None,
            power: None,
            ..first
        };
        assert_eq!(gpus[1], second);
    }

    #[tokio::test]
    async fn a_library_that_comes_later_is_opened_then() {
        let folder = tempfile::tempdir().unwrap();
        let mut missing = Library::new(folder.path().join("libnvidia-ml.so.1"));
        assert!(missing.read().await.is_err());
        library(folder.path());
        assert_eq!(missing.read().await.unwrap().len(), 2);
    }
}
