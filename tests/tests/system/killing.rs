//! A replay over two engines that are killed in turns: what had not begun is answered, what had is told the truth.

use tempfile::TempDir;
use tests::{
    killing::{Killing, Moment, recording},
    subject::{Blow, Subject},
};

#[tokio::test]
async fn engines_killed_in_turns_cost_nobody_anything_before_the_first_byte() {
    let folder = TempDir::new().unwrap();
    let trace = recording(folder.path(), 600, 60);
    let killing = Killing {
        blows: &[Blow::Kill],
        replay: &format!("--trace {} --seed 1", trace.display()),
        settings: &[("TOLLGATE_INFERENCE__ENGINE__CHECK_INTERVAL", "100ms")],
        between: Moment::Ended(60),
        away: Moment::Ended(20),
    };
    let flags = "--profile quick --time-scale 4";
    let engines = tokio::join!(Subject::simulated(flags), Subject::simulated(flags));
    let found = killing.run(engines.into()).await;
    assert!(found.faults.is_empty(), "{found}");
    assert_eq!(found.requests, 600, "{found}");
    assert!(found.killed >= 4 && found.cut > 0 && found.moved > 0, "{found}");
}
