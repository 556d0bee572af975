//! Who is told what, and when.

use crate::{at, labels};
use alerts::{
    Alert, Decision, Desk, Every, Fingerprint, Inhibition, Labels, Reason, Route, Routing, Sent, Silence,
    Standing, State, Suppression, Time, decide,
};
use std::{collections::BTreeSet, time::Duration};

fn set(numbers: &[u64]) -> BTreeSet<Fingerprint> {
    numbers.iter().map(|number| Fingerprint(*number)).collect()
}

#[test]
fn every_kind_of_message_and_of_none() {
    let sent = Sent { at: at(0), firing: set(&[1, 2]), resolved: set(&[]) };
    let repeat = Duration::from_secs(3_600);
    let of =
        |sent, firing: &[u64], over: &[u64], now| decide(sent, &set(firing), &set(over), at(now), repeat);
    assert_eq!(of(None, &[1], &[], 0), Decision::Tell(Reason::First));
    assert_eq!(of(None, &[], &[1], 0), Decision::Skip, "nobody heard that it began");
    assert_eq!(of(Some(&sent), &[1, 2, 3], &[], 60), Decision::Tell(Reason::NewAlerts));
    assert_eq!(of(Some(&sent), &[1], &[2], 60), Decision::Tell(Reason::Resolved));
    assert_eq!(of(Some(&sent), &[], &[1, 2], 60), Decision::Tell(Reason::Resolved));
    assert_eq!(of(Some(&sent), &[1, 2], &[], 60), Decision::Skip);
    assert_eq!(of(Some(&sent), &[1], &[], 60), Decision::Skip, "one is held back now, not over");
    assert_eq!(of(Some(&sent), &[1, 2], &[], 3_600), Decision::Tell(Reason::Repeat));
    let over = Sent { at: at(60), firing: set(&[]), resolved: set(&[1, 2]) };
    assert_eq!(of(Some(&over), &[], &[1, 2], 9_000), Decision::Skip, "it is over, and that was said");
    assert_eq!(of(Some(&over), &[2], &[1], 9_000), Decision::Tell(Reason::NewAlerts));
}

/// Receiver, reason, how many fire and how many are over.
type Told = (String, Reason, usize, usize);

struct Scene {
    desk: Desk,
    alerts: Vec<(Fingerprint, Alert, bool, Duration, Option<Time>)>,
}

impl Scene {
    fn new(routing: Routing) -> Self {
        Self { desk: Desk { routing, ..Desk::default() }, alerts: Vec::new() }
    }

    fn fire(&mut self, of: &[(&str, &str)], now: u64) -> Fingerprint {
        let labels: Labels = labels(of);
        let fingerprint = labels.fingerprint();
        self.alerts.retain(|(known, ..)| *known != fingerprint);
        let alert = Alert {
            labels,
            annotations: Labels::default(),
            state: State::Firing,
            value: 1.0,
            since: at(now),
            last: at(now),
            fired: Some(at(now)),
            resolved: None,
        };
        self.alerts.push((fingerprint, alert, false, Duration::ZERO, None));
        fingerprint
    }

    fn resolve(&mut self, which: Fingerprint, now: u64) {
        for (_, alert, ..) in self.alerts.iter_mut().filter(|(known, ..)| *known == which) {
            (alert.state, alert.resolved) = (State::Resolved, Some(at(now)));
        }
    }

    /// What is due, as receiver, reason, what fires and what is over; and what is held back.
    fn look(&mut self, now: u64) -> (Vec<Told>, Vec<Suppression>) {
        let all: Vec<_> = self
            .alerts
            .iter()
            .map(|(fingerprint, alert, acknowledged, cooldown, told)| Standing {
                fingerprint: *fingerprint,
                alert,
                acknowledged: *acknowledged,
                cooldown: *cooldown,
                told: *told,
            })
            .collect();
        let (due, held) = self.desk.look(&all, at(now));
        due.iter().for_each(|due| self.desk.sent(due, at(now)));
        let due =
            due.into_iter().map(|due| (due.group.receiver, due.reason, due.firing.len(), due.resolved.len()));
        (due.collect(), held.into_values().collect())
    }
}

fn told(receiver: &str, reason: Reason, firing: usize, over: usize) -> Vec<Told> {
    vec![(receiver.to_owned(), reason, firing, over)]
}

#[test]
fn a_group_waits_for_more_then_for_its_interval_and_is_repeated() {
    let mut scene = Scene::new(Routing::to("ops"));
    let one = scene.fire(&[("alertname", "Slow"), ("severity", "warning"), ("host", "a")], 0);
    assert_eq!(scene.look(0).0, []);
    let other = scene.fire(&[("alertname", "Slow"), ("severity", "warning"), ("host", "b")], 3);
    assert_eq!(scene.look(5).0, told("ops", Reason::First, 2, 0), "both in one");
    scene.resolve(one, 10);
    assert_eq!(scene.look(64).0, [], "not before the interval is over");
    assert_eq!(scene.look(65).0, told("ops", Reason::Resolved, 1, 1));
    assert_eq!(scene.look(4 * 3_600).0, []);
    assert_eq!(scene.look(65 + 4 * 3_600).0, told("ops", Reason::Repeat, 1, 0));
    scene.resolve(other, 20_000);
    assert_eq!(scene.look(20_000).0, told("ops", Reason::Resolved, 0, 1), "only what it was last told of");
    assert_eq!(scene.look(30_000).0, []);
}

#[test]
fn what_is_critical_is_told_at_once_and_no_component_waits_for_another() {
    let mut scene = Scene::new(Routing::to("ops"));
    let down = |component| [("alertname", "Down"), ("severity", "critical"), ("component", component)];
    let one = scene.fire(&down("database"), 0);
    assert_eq!(scene.look(0).0, told("ops", Reason::First, 1, 0));
    scene.fire(&down("usage database"), 1);
    assert_eq!(scene.look(1).0, told("ops", Reason::First, 1, 0));
    scene.resolve(one, 6);
    assert_eq!(scene.look(6).0, told("ops", Reason::Resolved, 0, 1));
}

#[test]
fn engines_that_go_together_are_told_of_together() {
    let mut scene = Scene::new(Routing::to("ops"));
    let down = |engine| [("alertname", "EngineDown"), ("severity", "critical"), ("engine", engine)];
    scene.fire(&down("a"), 0);
    assert_eq!(scene.look(0).0, told("ops", Reason::First, 1, 0));
    scene.fire(&down("b"), 1);
    scene.fire(&down("c"), 2);
    assert_eq!(scene.look(4).0, []);
    assert_eq!(scene.look(5).0, told("ops", Reason::NewAlerts, 3, 0));
}

#[test]
fn of_the_same_thing_only_the_worst_is_told() {
    for (worse, less, label) in [
        ("DiskFull", "DiskFilling", "instance"),
        ("BudgetSpent", "BudgetNearlySpent", "budget"),
        ("CertificateExpiresSoon", "CertificateExpires", "section"),
    ] {
        let mut scene = Scene::new(Routing::to("ops"));
        let source = scene.fire(&[("alertname", worse), ("severity", "critical"), (label, "a")], 0);
        scene.fire(&[("alertname", less), ("severity", "warning"), (label, "a")], 0);
        scene.fire(&[("alertname", less), ("severity", "warning"), (label, "b")], 0);
        assert_eq!(scene.look(0), (told("ops", Reason::First, 1, 0), vec![Suppression::Inhibited(source)]));
        assert_eq!(scene.look(5).0, told("ops", Reason::First, 1, 0), "the other one's");
    }
}

#[test]
fn what_is_held_back_says_by_what_and_is_told_when_it_is_not_any_more() {
    let mut scene = Scene::new(Routing::to("ops"));
    let quiet = scene.fire(&[("alertname", "Slow"), ("severity", "warning"), ("host", "a")], 0);
    let matchers = vec!["host=a".parse().unwrap()];
    scene.desk.silences = vec![Silence { id: "s1".into(), matchers, start: at(0), end: at(100) }];
    let silenced = vec![Suppression::Silenced("s1".into())];
    assert_eq!(scene.look(10), (vec![], silenced.clone()));
    assert_eq!(scene.look(99), (vec![], silenced));
    scene.look(100);
    assert_eq!(scene.look(105), (told("ops", Reason::First, 1, 0), vec![]));
    // Silenced again, and over meanwhile: whoever heard of the beginning hears of the end.
    scene.desk.silences = vec![Silence {
        id: "s2".into(),
        matchers: vec!["host=a".parse().unwrap()],
        start: at(0),
        end: at(10_000),
    }];
    assert_eq!(scene.look(200).1.len(), 1);
    scene.resolve(quiet, 300);
    assert_eq!(scene.look(300), (told("ops", Reason::Resolved, 0, 1), vec![]));
}

#[test]
fn acknowledged_alerts_are_not_repeated_and_come_to_an_end() {
    let mut scene = Scene::new(Routing::to("ops"));
    let one = scene.fire(&[("alertname", "Slow")], 0);
    scene.look(0);
    assert_eq!(scene.look(5).0, told("ops", Reason::First, 1, 0));
    scene.alerts[0].2 = true;
    assert_eq!(scene.look(5 + 4 * 3_600), (vec![], vec![Suppression::Acknowledged]));
    scene.resolve(one, 20_000);
    assert_eq!(scene.look(20_000).0, told("ops", Reason::Resolved, 0, 1));
}

#[test]
fn one_that_comes_back_within_its_cooldown_is_not_told_of() {
    let mut scene = Scene::new(Routing::to("ops"));
    let down = [("alertname", "Down"), ("severity", "critical")];
    let one = scene.fire(&down, 0);
    scene.look(0);
    scene.look(1);
    scene.resolve(one, 20);
    assert_eq!(scene.look(31).0, told("ops", Reason::Resolved, 0, 1));
    scene.fire(&down, 60);
    let cooled = scene.alerts.last_mut().unwrap();
    (cooled.3, cooled.4) = (Duration::from_secs(300), Some(at(1)));
    assert_eq!(scene.look(70), (vec![], vec![Suppression::Cooldown(at(301))]));
    assert_eq!(
        scene.look(301).0,
        told("ops", Reason::NewAlerts, 1, 0),
        "it still fires when the time is over"
    );
}

#[test]
fn what_follows_from_something_worse_is_held_back_and_nothing_holds_itself_back() {
    let mut scene = Scene::new(Routing::to("ops"));
    let worse = scene.fire(&[("alertname", "Budget"), ("severity", "critical"), ("model", "m")], 0);
    scene.fire(&[("alertname", "Budget"), ("severity", "warning"), ("model", "m")], 0);
    scene.fire(&[("alertname", "Budget"), ("severity", "warning"), ("model", "n")], 0);
    assert_eq!(scene.look(0).1, [Suppression::Inhibited(worse)]);
    scene.resolve(worse, 10);
    assert_eq!(scene.look(10).1, []);

    let all = || vec!["alertname=~\".+\"".parse().unwrap()];
    let mut scene = Scene::new(Routing {
        inhibit: vec![Inhibition { source: all(), target: all(), equal: vec![] }],
        ..Routing::to("ops")
    });
    scene.fire(&[("alertname", "A")], 0);
    scene.fire(&[("alertname", "B")], 0);
    assert_eq!(scene.look(0).1, [], "neither itself nor each other");
}

fn routes(receiver: &str, matcher: &str) -> Route {
    Route { receiver: Some(receiver.into()), matchers: vec![matcher.parse().unwrap()], ..Route::default() }
}

#[test]
fn alerts_find_their_ways_through_the_tree() {
    let mut team = routes("team", "team=edge");
    team.group_by = Some(vec!["host".into()]);
    team.routes = vec![routes("team-page", "severity=critical")];
    let mut audit = routes("audit", "severity=~\"error|critical\"");
    (audit.go_on, audit.group_by) = (true, Some(vec!["...".into()]));
    let root = Route { receiver: Some("ops".into()), routes: vec![audit, team], ..Route::default() };
    let routing = Routing { route: root, inhibit: vec![] };
    assert_eq!(routing.check(&["ops", "team", "team-page", "audit"]), Ok(()));
    let ways = |of: &[(&str, &str)]| {
        let ways = routing.ways(&labels(of)).into_iter();
        ways.map(|way| (way.receiver, way.route, way.group.len())).collect::<Vec<_>>()
    };
    let way = |receiver: &str, route: &str, group| (receiver.to_owned(), route.to_owned(), group);
    assert_eq!(ways(&[("severity", "info")]), [way("ops", "0", 0)]);
    assert_eq!(ways(&[("team", "edge"), ("host", "a")]), [way("team", "0.1", 1)]);
    assert_eq!(
        ways(&[("team", "edge"), ("host", "a"), ("severity", "critical")]),
        [way("audit", "0.0", 3), way("team-page", "0.1.0", 1)]
    );
    assert_eq!(ways(&[("severity", "error")]), [way("audit", "0.0", 1)]);
}

#[test]
fn trees_that_cannot_be_followed_are_refused() {
    let receivers = ["ops"];
    assert_eq!(Routing::to("ops").check(&receivers), Ok(()));
    assert!(Routing::default().check(&receivers).is_err(), "nobody hears of the rest");
    assert!(Routing::to("nobody").check(&receivers).is_err());
    let changes: [fn(&mut Route); 5] = [
        |root| root.matchers = vec!["a=b".parse().unwrap()],
        |root| root.group_interval = Some(Every(Duration::from_secs(1))),
        |root| root.repeat_interval = Some(Every(Duration::from_secs(30))),
        |root| root.group_by = Some(vec!["1x".into()]),
        |root| root.routes = vec![routes("nobody", "a=b")],
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut routing = Routing::to("ops");
        change(&mut routing.route);
        assert!(routing.check(&receivers).is_err(), "change {number}");
    }
}

#[test]
fn silences_of_everything_and_of_no_time_are_refused() {
    let silence = |matchers: &[&str], start, end| Silence {
        id: String::new(),
        matchers: matchers.iter().map(|text| text.parse().unwrap()).collect(),
        start: at(start),
        end: at(end),
    };
    assert!(silence(&["a=b"], 0, 1).check().is_ok());
    for refused in
        [silence(&[], 0, 1), silence(&["a=~.*"], 0, 1), silence(&["a!=b"], 0, 1), silence(&["a=b"], 1, 1)]
    {
        assert!(refused.check().is_err(), "{refused:?}");
    }
}

#[test]
fn where_no_receiver_is_named_nobody_is_told() {
    let mut scene = Scene::new(Routing::default());
    scene.fire(&[("alertname", "A"), ("severity", "critical")], 0);
    for now in [0, 60] {
        assert_eq!(scene.look(now), (Vec::new(), Vec::new()), "at {now}");
    }
}
