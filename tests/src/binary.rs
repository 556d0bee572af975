//! Where the program under test is: `TOLLGATE_BIN`, else what cargo builds beside this test.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

static BINARY: LazyLock<PathBuf> = LazyLock::new(find);

/// The program, built first when it is not current.
#[must_use]
pub fn path() -> &'static Path {
    &BINARY
}

#[expect(clippy::disallowed_methods, reason = "the one setting of the tests")]
fn find() -> PathBuf {
    if let Ok(given) = env::var("TOLLGATE_BIN") {
        return given.into();
    }
    // A test runs as <target>/<profile>/deps/<name>, a program as <target>/<profile>/<name>.
    let ours = env::current_exe().unwrap();
    let beside = ours.parent().unwrap();
    let folder = if beside.ends_with("deps") { beside.parent().unwrap() } else { beside };
    let target = folder.parent().unwrap();
    // An older program would be tested without a word, so cargo is asked each time; it does nothing when all is current.
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "tollgate", "--target-dir"]).arg(target);
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
    assert!(
        built.success(),
        "tollgate does not build; name a program by TOLLGATE_BIN, or see cargo's words above"
    );
    folder.join("tollgate")
}
