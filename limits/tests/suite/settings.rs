//! The tables that there are unless configured otherwise, and what configuration may say.

use limits::{Action, Limit, Limiter, Settings, Tier};
use std::time::Duration;

#[test]
fn the_tables_of_the_requirement() {
    let actions = Settings::default().all_actions();
    let limit = |name: &str| {
        let limit = actions[name].limits.first()?;
        Some((limit.requests.unwrap(), limit.window().as_secs(), limit.burst))
    };
    for (name, wanted) in [
        ("submission", (10, 300, 3)),
        ("feedback_request", (20, 300, 5)),
        ("ai_generation", (5, 600, 2)),
        ("recommendation_request", (15, 300, 3)),
        ("login_attempt", (5, 300, 0)),
        ("api_call", (100, 60, 20)),
        ("model_read", (100, 60, 0)),
        ("batch", (10, 60, 0)),
        ("management", (1_000, 60, 0)),
    ] {
        assert_eq!(limit(name), Some(wanted), "{name}");
    }
    assert_eq!(limit("inference"), None, "unlimited");
}

#[test]
fn the_longest_route_that_fits_counts() {
    let mut settings = Settings::default();
    settings.routes.insert("/tollgate.permissions.v1.AccessRequestService/*".into(), "submission".into());
    settings.routes.insert("DELETE /v1/files/*".into(), "batch".into());
    let limiter = Limiter::new(settings);
    for (path, action) in [
        ("/tollgate.permissions.v1.ModelService/ListModels", "model_read"),
        ("/tollgate.permissions.v1.ModelService/UpdateModel", "management"),
        ("/tollgate.permissions.v1.BatchService/BatchGrants", "batch"),
        ("/tollgate.permissions.v1.AccessRequestService/CreateAccessRequest", "submission"),
        ("/tollgate.inference.v1.InferenceService/InferStream", "inference"),
        ("/v1/embeddings", "inference"),
        ("POST /v1/files", "batch"),
        ("GET /v1/files", "management"),
        ("GET /v1/files/file-1/content", "management"),
        ("DELETE /v1/files/file-1", "batch"),
        ("POST /v1/batches", "batch"),
        ("POST /v1/batches/batch_1/cancel", "management"),
        ("/tollgate.inference.v1.InferenceBatchService/CreateBatch", "batch"),
        ("/tollgate.inference.v1.JobService/SubmitJob", "submission"),
        ("/tollgate.inference.v1.JobService/GetJob", "management"),
        ("/anything", "management"),
    ] {
        let found = limiter.action_of(path).and_then(|action| limiter.name_of(action)).unwrap();
        assert_eq!(&*found, action, "{path}");
    }
}

#[test]
fn faults_are_named() {
    let mut faults = Vec::new();
    Settings::default().validate(&mut faults);
    assert!(faults.is_empty(), "{faults:?}");
    let mut settings = Settings { time_zone: "Mars/Olympus".into(), ..Settings::default() };
    settings.routes.insert("/v1/x".into(), "nothing".into());
    let both = Limit { requests: Some(1), tokens: Some(1), window: Some(Duration::ZERO), ..Limit::default() };
    settings.actions.insert("Odd".into(), Action { limits: vec![both], ..Action::default() });
    settings.tiers.premium = -1.0;
    settings.sharing.lease = 2.0;
    settings.validate(&mut faults);
    for fault in [
        "limits.time_zone: `Mars/Olympus`",
        "there is no action `nothing`",
        "limits.actions.Odd: a name",
        "one of `requests`",
        "window: must be",
        "groups, models and tokens",
        "a factor must be",
        "limits.sharing: ",
    ] {
        assert!(faults.iter().any(|said| said.contains(fault)), "{fault} is not in {faults:?}");
    }
}

#[test]
fn the_best_tier_counts() {
    let id = uuid::Uuid::from_u128(1);
    let mut tiers = Settings::default().tiers;
    assert_eq!((tiers.of(Some(id), None, false), tiers.of(Some(id), None, true)), (Tier::Free, Tier::Admin));
    tiers.users.insert(id, Tier::Premium);
    assert_eq!(tiers.of(Some(id), None, false), Tier::Premium);
    tiers.keys.insert(id, Tier::Admin);
    assert_eq!(tiers.of(Some(id), Some(id), false), Tier::Admin);
}
