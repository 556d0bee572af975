//! Which state follows which.

use scaling::{
    Cause, Claim, State,
    instance::{Draining, Init, Instance, Ready, Stage, Terminated, Warming},
};
use std::time::Duration;

const NOW: Duration = Duration::from_secs(7);

/// Every move that the types allow, as (from, to).
fn typed() -> Vec<(State, State)> {
    fn from<S: Stage>(claim: Claim) -> (State, State) {
        (S::STATE, claim.to)
    }
    let init = || Instance::registered(3);
    let warming = || init().warm(NOW).0;
    let ready = || warming().ready(NOW).0;
    let draining = || ready().drain(Cause::Idle, NOW).0;
    vec![
        from::<Init>(init().warm(NOW).1),
        from::<Init>(init().give_up(Cause::Stopped, NOW).1),
        from::<Warming>(warming().ready(NOW).1),
        from::<Warming>(warming().give_up(Cause::WarmUpFailed, NOW).1),
        from::<Ready>(ready().lose_engine(NOW).1),
        from::<Ready>(ready().drain(Cause::Preemption, NOW).1),
        from::<Draining>(draining().terminate(Cause::Drained, NOW).1),
    ]
}

#[test]
fn the_types_and_the_table_say_the_same() {
    let mut table: Vec<_> = State::ALL
        .into_iter()
        .flat_map(|from| State::ALL.map(|to| (from, to)))
        .filter(|(from, to)| from.may_become(*to))
        .collect();
    // Only monitoring ends what was ready without a drain: when it hears nothing of it any more.
    table.retain(|pair| *pair != (State::Ready, State::Terminated));
    let mut typed = typed();
    typed.sort_unstable();
    table.sort_unstable();
    assert_eq!(typed, table);
}

#[test]
fn nothing_follows_the_end_and_nothing_follows_itself() {
    for state in State::ALL {
        assert!(!State::Terminated.may_become(state));
        assert!(!state.may_become(state));
        assert!(!state.may_become(State::Init));
    }
}

#[test]
fn moves_are_numbered_and_carry_their_cause() {
    let (warming, first) = Instance::registered(9).warm(NOW);
    let (ready, second) = warming.ready(NOW);
    let (warming, third) = ready.lose_engine(NOW);
    let (ended, fourth): (Instance<Terminated>, _) = warming.give_up(Cause::Preemption, NOW);
    assert_eq!([first, second, third, fourth].map(|claim| claim.version), [1, 2, 3, 4]);
    assert!([first, second, third, fourth].iter().all(|claim| claim.epoch == 9 && claim.at == NOW));
    assert_eq!(third.cause, Cause::EngineLost);
    assert_eq!((ended.state(), ended.version(), ended.epoch()), (State::Terminated, 4, 9));
}
