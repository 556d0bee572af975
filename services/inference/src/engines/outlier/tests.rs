use super::*;
use proptest::prelude::*;

fn sample(engine: EngineId, requests: u32, failures: u32, first_token: u64) -> Sample {
    let first_tokens = vec![Duration::from_millis(first_token); (requests - failures) as usize];
    Sample { engine, ejected: false, window: Window { requests, failures, first_tokens } }
}

fn names(peers: &[Sample]) -> Vec<EngineId> {
    outliers(peers, &config::Ejection::default()).into_iter().map(|(engine, _)| engine).collect()
}

#[test]
fn the_one_that_fails_more_than_its_peers_is_ejected() {
    let peers = [sample(0, 100, 0, 50), sample(1, 100, 50, 50), sample(2, 100, 2, 50)];
    let [(engine, reason)] = &outliers(&peers, &config::Ejection::default())[..] else { panic!() };
    assert_eq!((*engine, reason.as_str()), (1, "50 % of its requests failed, 1 % of its peers'"));
}

#[test]
fn the_one_that_is_far_slower_than_its_peers_is_ejected() {
    assert_eq!(names(&[sample(0, 40, 0, 50), sample(1, 40, 0, 60), sample(2, 40, 0, 900)]), [2]);
    assert_eq!(names(&[sample(0, 40, 0, 5), sample(1, 40, 0, 6), sample(2, 40, 0, 90)]), [] as [usize; 0]);
}

#[test]
fn when_all_do_badly_none_is_ejected() {
    assert_eq!(
        names(&[sample(0, 100, 60, 50), sample(1, 100, 50, 50), sample(2, 100, 55, 50)]),
        [] as [usize; 0]
    );
}

#[test]
fn two_engines_and_few_requests_say_nothing() {
    assert_eq!(names(&[sample(0, 100, 0, 50), sample(1, 100, 90, 50)]), [] as [usize; 0]);
    assert_eq!(names(&[sample(0, 10, 0, 50), sample(1, 10, 9, 50), sample(2, 10, 0, 50)]), [] as [usize; 0]);
}

#[test]
fn the_worst_go_first_and_those_that_are_out_take_room() {
    let mut peers: Vec<Sample> = (0..6).map(|engine| sample(engine, 100, 0, 50)).collect();
    for (engine, failures) in [(1, 60), (3, 95), (5, 70)] {
        peers[engine] = sample(engine, 100, failures, 50);
    }
    assert_eq!(names(&peers), [3], "5 and 1 are not beyond what is usual here");
    for (engine, failures) in [(1, 0), (3, 95), (5, 94)] {
        peers[engine] = sample(engine, 100, failures, 50);
    }
    assert_eq!(names(&peers), [3, 5]);
    peers[0].ejected = true;
    assert_eq!(names(&peers), [3]);
}

#[test]
fn each_time_lasts_longer_until_it_did_well_for_long() {
    let (config, mut now) = (config::Ejection::default(), Instant::now());
    let mut ejection = Ejection::default();
    let mut seconds = Vec::new();
    for _ in 0..12 {
        let lasts = ejection.eject("why".into(), now, &config);
        ejection.tick(now);
        assert!(ejection.until().is_some());
        now += lasts;
        ejection.tick(now);
        assert_eq!(ejection.until(), None);
        seconds.push(lasts.as_secs());
    }
    assert_eq!(seconds, [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]);
    assert_eq!(ejection.eject("why".into(), now + config.max_time, &config), config.time);
}

proptest! {
    #[test]
    fn never_more_than_the_share_is_out(
        engines in proptest::collection::vec((20u32..200, 0u32..=100, 1u64..3_000, any::<bool>()), 1..20),
    ) {
        let peers: Vec<Sample> = engines.iter().enumerate().map(|(engine, &(requests, failed, first, ejected))| {
            Sample { ejected, ..sample(engine, requests, requests * failed / 100, first) }
        }).collect();
        let before = peers.iter().filter(|sample| sample.ejected).count();
        let config = config::Ejection::default();
        let new = outliers(&peers, &config);
        prop_assert!(new.is_empty() || before + new.len() <= (peers.len() as f64 * config.share) as usize);
        prop_assert!(new.iter().all(|(engine, _)| !peers[*engine].ejected));
    }
}
