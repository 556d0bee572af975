//! Calls under way at once: by endpoint, in all, and never of prompts.

use limits::{AtOnce, Full, Limiter, Settings, Taken, Weight};
use proptest::prelude::*;

const LIGHT: &str = "/tollgate.permissions.v1.ModelService/GetModel";
const OTHER: &str = "/tollgate.permissions.v1.ModelService/ListModels";
const MIDDLE: &str = "/tollgate.inference.v1.JobService/SubmitJob";
const HEAVY: &str = "/tollgate.permissions.v1.BatchService/BatchGrants";

fn limiter(at_once: AtOnce) -> Limiter {
    Limiter::new(Settings { at_once, ..Settings::default() })
}

/// As many as are let in, of those that are tried.
fn fill(limiter: &mut Limiter, verb: &str, path: &str, tries: usize) -> Vec<Taken> {
    (0..tries).filter_map(|_| limiter.begin(verb, path).ok().flatten()).collect()
}

#[test]
fn each_endpoint_has_its_bound_and_all_have_one() {
    let mut limiter = limiter(AtOnce::default());
    let mut taken = fill(&mut limiter, "POST", LIGHT, 99);
    assert_eq!(taken.len(), 30);
    assert_eq!(limiter.begin("POST", LIGHT).unwrap_err(), Full { of_endpoint: true, most: 30 });
    taken.extend(fill(&mut limiter, "POST", HEAVY, 99));
    assert_eq!(taken.len(), 40);
    taken.extend(fill(&mut limiter, "POST", MIDDLE, 99));
    assert_eq!(taken.len(), 50, "20 would be allowed of it");
    assert_eq!(limiter.begin("POST", OTHER).unwrap_err(), Full { of_endpoint: false, most: 50 });
    limiter.over(&taken.pop().unwrap());
    assert!(limiter.begin("POST", OTHER).is_ok_and(|place| place.is_some()));
    for free in [
        "/v1/chat/completions",
        "/tollgate.inference.v1.InferenceService/Infer",
        "/grpc.health.v1.Health/Check",
    ] {
        assert_eq!(fill(&mut limiter, "POST", free, 9).len(), 0);
        assert!(limiter.begin("POST", free).is_ok(), "{free}");
    }
}

#[test]
fn files_of_openais_routes_are_one_endpoint_and_uploads_are_heavy() {
    let mut limiter = limiter(AtOnce::default());
    let uploads = fill(&mut limiter, "POST", "/v1/files", 99);
    assert_eq!(uploads.len(), 10);
    let mut reads = 0;
    for number in 0..99 {
        reads += fill(&mut limiter, "GET", &format!("/v1/files/file-{number}"), 1).len();
    }
    assert_eq!(reads, 20);
}

#[test]
fn configuration_changes_numbers_and_weights_while_calls_are_under_way() {
    let mut limiter = limiter(AtOnce::default());
    let taken = fill(&mut limiter, "POST", LIGHT, 5);
    let weights = [(LIGHT.to_owned(), Weight::Heavy), (OTHER.to_owned(), Weight::Free)].into();
    let at_once = AtOnce { heavy: 6, weights, ..AtOnce::default() };
    limiter.set(Settings { at_once, ..Settings::default() });
    assert_eq!(fill(&mut limiter, "POST", LIGHT, 9).len(), 1);
    assert_eq!(fill(&mut limiter, "POST", OTHER, 99).len(), 0);
    taken.iter().for_each(|taken| limiter.over(taken));
    assert_eq!(limiter.under_way(), 1);
    let mut faults = Vec::new();
    let weights = [("v1".to_owned(), Weight::Heavy)].into();
    let wrong = AtOnce { heavy: 0, weights, ..AtOnce::default() };
    Settings { at_once: wrong, ..Settings::default() }.validate(&mut faults);
    assert!(faults.iter().any(|fault| fault.contains("at least 1")) && faults.len() == 2, "{faults:?}");
}

proptest! {
    #[test]
    fn never_more_than_there_may_be_and_every_place_comes_back(steps in prop::collection::vec((0..4_usize, any::<bool>()), 1..400)) {
        let (paths, bounds) = ([LIGHT, OTHER, MIDDLE, HEAVY], [30, 30, 20, 10]);
        let mut limiter = limiter(AtOnce::default());
        let mut held: [Vec<Taken>; 4] = Default::default();
        for (which, end) in steps {
            if end {
                if let Some(taken) = held[which].pop() {
                    limiter.over(&taken);
                }
                continue;
            }
            let (there, all) = (held[which].len(), held.iter().map(Vec::len).sum::<usize>());
            match limiter.begin("POST", paths[which]) {
                Ok(place) => held[which].extend(place),
                Err(Full { of_endpoint: true, .. }) => prop_assert_eq!(there, bounds[which]),
                Err(_) => prop_assert_eq!(all, 50),
            }
            prop_assert!(held[which].len() <= bounds[which]);
            prop_assert_eq!(limiter.under_way() as usize, held.iter().map(Vec::len).sum::<usize>());
        }
    }
}
