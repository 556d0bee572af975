//! A small disk that one process sees, and nobody else: a file system in memory, in a mount namespace of that process. It is
//! laid over an empty folder as a container's is, because disks in memory by themselves are not looked at.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Its size, in bytes.
const SIZE: u64 = 16 * 1024 * 1024;

/// Where it is in the folder of the process.
const MOUNT: &str = "disk";

/// Makes it and becomes the program that is named by the arguments.
const SCRIPT: &str = r#"set -e
mkdir -p memory disk
mount -t tmpfs -o size=16m tmpfs memory
mkdir memory/lower memory/upper memory/work
mount -t overlay overlay -o lowerdir=memory/lower,upperdir=memory/upper,workdir=memory/work disk
exec "$@""#;

/// The words that come before a program's own so that it has such a disk.
pub const UNDER: [&str; 7] = ["unshare", "--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh"];

/// A file on the disk of a process, with so many hundredths of its size.
#[derive(Debug)]
pub struct Filling(PathBuf);

impl Filling {
    /// Fills it.
    #[must_use]
    pub fn of(process: u32, folder: &Path, percent: u64) -> Self {
        let inside = folder.join(MOUNT).join("filling");
        let path = PathBuf::from(format!("/proc/{process}/root{}", inside.display()));
        let length = usize::try_from(SIZE * percent / 100).unwrap();
        fs::write(&path, vec![1; length]).unwrap();
        Self(path)
    }

    /// Takes it away.
    pub fn remove(self) {
        fs::remove_file(self.0).unwrap();
    }
}
