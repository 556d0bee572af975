//! Workers as they run: what they take up again, and what they are told.

use crate::world::{QUEUE, World};
use shared::{
    claims::{
        self, BackOff, Claim, End, Ended, Failed, Failure, Held, Pace, Row, State, Tallied, Why, Work,
        Workers,
    },
    server::Tasks,
    time,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(30);

fn pace() -> Pace {
    Pace {
        lease: Duration::from_secs(1),
        look: Duration::from_millis(20),
        back_off: BackOff { first: Duration::from_millis(10), most: Duration::from_millis(40) },
        keep: Duration::from_secs(60),
    }
}

/// Does whatever the attempt before it did not; says what it began and what it ended.
#[derive(Debug, Clone)]
struct Scripted {
    plan: Arc<dyn Plan>,
    begun: mpsc::UnboundedSender<(Uuid, u32)>,
    over: mpsc::UnboundedSender<Uuid>,
}

trait Plan: std::fmt::Debug + Send + Sync {
    fn of(&self, attempt: u32) -> Do;
}

#[derive(Debug, Clone, Copy)]
enum Do {
    Succeed,
    Fail,
    Hang,
}

#[derive(Debug)]
struct Each(Do);

impl Plan for Each {
    fn of(&self, _attempt: u32) -> Do {
        self.0
    }
}

#[derive(Debug)]
struct FailsTwice;

impl Plan for FailsTwice {
    fn of(&self, attempt: u32) -> Do {
        if attempt < 3 { Do::Fail } else { Do::Succeed }
    }
}

impl Work for Scripted {
    async fn run(&self, held: &Held) -> Ended {
        let attempt = held.claim.attempt;
        self.begun.send((held.claim.ticket.id, attempt)).unwrap();
        held.progress(30);
        match self.plan.of(attempt) {
            Do::Succeed => Ended::Now(End::Succeeded(format!("attempt {attempt}").into_bytes())),
            Do::Fail => {
                let failure = Failure { reason: "NO_ENGINE".to_owned(), message: "none".to_owned() };
                Ended::Again(Failed { failure, after: Duration::ZERO })
            }
            Do::Hang => match held.ending().await {
                Why::Cancelled => Ended::Now(End::Cancelled),
                Why::Stopping => Ended::Back,
            },
        }
    }

    async fn over(&self, claim: &Claim) {
        self.over.send(claim.ticket.id).unwrap();
    }
}

/// Workers that run, and what they say.
struct Crew {
    workers: Workers<Scripted>,
    tasks: Tasks,
    begun: mpsc::UnboundedReceiver<(Uuid, u32)>,
    over: mpsc::UnboundedReceiver<Uuid>,
}

impl Crew {
    fn start(world: &World, places: usize, plan: impl Plan + 'static) -> Self {
        let ((begin, begun), (end, over)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let (work, tasks) = (Scripted { plan: Arc::new(plan), begun: begin, over: end }, Tasks::default());
        let workers = Workers::new(world.vault.clone(), "crew", QUEUE, places, pace(), work);
        workers.start(&tasks);
        Self { workers, tasks, begun, over }
    }

    async fn begun(&mut self) -> (Uuid, u32) {
        tokio::time::timeout(PATIENCE, self.begun.recv()).await.unwrap().unwrap()
    }

    async fn over(&mut self) -> Uuid {
        tokio::time::timeout(PATIENCE, self.over.recv()).await.unwrap().unwrap()
    }

    async fn end(self) {
        assert!(self.tasks.end(PATIENCE).await);
    }
}

async fn get(world: &World, id: Uuid) -> Row {
    claims::get(&world.vault, id, world.owner).await.unwrap().unwrap()
}

async fn what_fails_is_tried_again_until_it_is_done(world: &World) {
    let id = world.enter(time::now()).await;
    let mut crew = Crew::start(world, 2, FailsTwice);
    assert_eq!(crew.over().await, id);
    let row = get(world, id).await;
    assert_eq!((row.state, row.attempt), (State::Succeeded, 3));
    assert_eq!(row.result.as_deref(), Some(&b"attempt 3"[..]));
    let tally = crew.workers.tally();
    assert_eq!((tally.of(Tallied::Again), tally.of(Tallied::Succeeded)), (2, 1));
    crew.end().await;
}

async fn what_fails_as_often_as_it_may_is_given_up(world: &World) {
    let id = world.enter(time::now()).await;
    let mut crew = Crew::start(world, 1, Each(Do::Fail));
    assert_eq!(crew.over().await, id);
    let row = get(world, id).await;
    assert_eq!(
        (row.state, row.attempt, row.failure.unwrap().reason.as_str()),
        (State::Failed, 3, "NO_ENGINE")
    );
    crew.end().await;
}

async fn what_a_dead_worker_had_is_taken_up_and_what_always_kills_is_not(world: &World) {
    let id = world.enter(time::now()).await;
    let now = time::now();
    // These say no more after they took it.
    for attempt in 1..=3 {
        let then = now.plus(Duration::from_secs(20 * attempt - 20));
        assert_eq!(u64::from(world.take_one(then).await.attempt), attempt);
    }
    let ticket = claims::Ticket { id, fence: 3 };
    assert_eq!(claims::beat(&world.vault.db, ticket, 0, time::now()).await.unwrap(), claims::Beat::Held);
    let mut crew = Crew::start(world, 1, Each(Do::Succeed));
    assert_eq!(crew.over().await, id);
    let row = get(world, id).await;
    assert_eq!((row.state, row.failure.unwrap().reason.as_str()), (State::Failed, "WORKER_LOST"));
    assert!(crew.begun.try_recv().is_err(), "it was not begun once more");
    crew.end().await;
}

async fn a_worker_keeps_its_lease_and_hears_of_a_cancel(world: &World) {
    let id = world.enter(time::now()).await;
    let mut crew = Crew::start(world, 1, Each(Do::Hang));
    crew.begun().await;
    let first = get(world, id).await.due;
    let put_off = async {
        while get(world, id).await.due <= first {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, put_off).await.unwrap();
    assert_eq!(get(world, id).await.percent, 30);
    let mut tx = world.vault.begin().await.unwrap();
    let now = time::now();
    let state = claims::cancel(&mut tx, (id, world.owner), false, (now, now)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(state, Some(State::Running));
    crew.workers.nudge(id);
    assert_eq!(crew.over().await, id);
    assert_eq!(get(world, id).await.state, State::Cancelled);
    crew.end().await;
}

async fn a_worker_that_ends_gives_back_what_it_has(world: &World) {
    let id = world.enter(time::now()).await;
    let mut crew = Crew::start(world, 1, Each(Do::Hang));
    assert_eq!(crew.begun().await, (id, 1));
    crew.end().await;
    let row = get(world, id).await;
    assert_eq!((row.state, row.attempt), (State::Pending, 0));
    let mut crew = Crew::start(world, 1, Each(Do::Succeed));
    assert_eq!(crew.over().await, id);
    crew.end().await;
}

async fn no_more_run_at_once_than_there_are_places(world: &World) {
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(world.enter(time::now()).await);
    }
    let mut crew = Crew::start(world, 2, Each(Do::Hang));
    let two = [crew.begun().await.0, crew.begun().await.0];
    assert_eq!(crew.workers.busy(), 2);
    let mut tx = world.vault.begin().await.unwrap();
    let now = time::now();
    claims::cancel(&mut tx, (two[0], world.owner), false, (now, now)).await.unwrap();
    tx.commit().await.unwrap();
    crew.workers.nudge(two[0]);
    assert_eq!(crew.over().await, two[0]);
    let third = crew.begun().await.0;
    assert!(all.contains(&third) && !two.contains(&third));
    assert!(crew.begun.try_recv().is_err());
    crew.end().await;
}

on_both_engines!(
    what_fails_is_tried_again_until_it_is_done,
    what_fails_as_often_as_it_may_is_given_up,
    what_a_dead_worker_had_is_taken_up_and_what_always_kills_is_not,
    a_worker_keeps_its_lease_and_hears_of_a_cancel,
    a_worker_that_ends_gives_back_what_it_has,
    no_more_run_at_once_than_there_are_places,
);
