use super::*;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

fn arrival(queue: &Queue) -> Request<'static> {
    let now = Instant::now();
    Request {
        model: "m",
        path: &[],
        class: Class::Default,
        spare: false,
        prompt: 1,
        most: None,
        prefix: [].into(),
        asks: 0,
        arrived: queue.at(now),
        deadline: Some(queue.at(now + MINUTE)),
        patience: MINUTE,
        avoid: None,
        only: None,
        streams: true,
        preempted: 0,
        made: Made::default(),
    }
}

fn somebody() -> Who {
    let (usage_id, user) = (Uuid::new_v4(), UserId(Uuid::from_u128(1)));
    Who { usage_id, request_id: "mine".into(), user, group: None, key: None }
}

async fn turn(queue: &Queue) -> Result<Permit, Error> {
    turn_of(queue, arrival(queue)).await
}

async fn turn_of(queue: &Queue, request: Request<'_>) -> Result<Permit, Error> {
    queue.enter(&request, somebody())?.turn().await
}

fn one_place() -> Queue {
    let queue = Queue::new(Settings::default());
    queue.engine(0, &["m".to_owned()], true, 1);
    queue
}

#[tokio::test]
async fn a_place_goes_to_the_next_in_line_when_its_permit_is_dropped() {
    let queue = one_place();
    let permit = turn(&queue).await.unwrap();
    let mut next = std::pin::pin!(turn(&queue));
    assert!(futures_util::poll!(&mut next).is_pending());
    assert_eq!(queue.waiting("m"), 1);
    drop(permit);
    assert_eq!(next.await.unwrap().engine(), 0);
    assert_eq!(queue.load(0), (0, 0));
}

#[tokio::test]
async fn who_goes_away_leaves_no_trace_even_when_the_turn_had_come() {
    let queue = one_place();
    let permit = turn(&queue).await.unwrap();
    {
        let mut gone = Box::pin(turn(&queue));
        assert!(futures_util::poll!(&mut gone).is_pending());
    }
    assert_eq!(queue.waiting("m"), 0);
    let mut called = Box::pin(turn(&queue));
    assert!(futures_util::poll!(&mut called).is_pending());
    drop(permit);
    assert_eq!(queue.load(0).0, 1);
    drop(called);
    assert_eq!(queue.load(0), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_at_the_deadline() {
    let queue = one_place();
    let _permit = turn(&queue).await.unwrap();
    assert!(matches!(turn(&queue).await, Err(Error::Deadline)));
    assert_eq!(queue.waiting("m"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_in_time_for_its_class_is_refused_with_a_time_to_come_back() {
    let (queue, tasks) = (one_place(), Tasks::default());
    queue.keep_time(&tasks);
    let _permit = turn(&queue).await.unwrap();
    let began = Instant::now();
    let refused = turn(&queue).await.map(drop);
    assert!(
        matches!(refused, Err(Error::Late { retry_after, .. }) if retry_after >= Duration::from_secs(1)),
        "{refused:?}"
    );
    assert!(began.elapsed() <= Duration::from_secs(5), "not after the first token was due");
    assert!(tasks.end(Duration::from_secs(1)).await);
}

#[tokio::test]
async fn batch_work_makes_room_before_its_first_token_and_its_share_is_given_back() {
    let queue = Queue::new(Settings::default());
    queue.engine(0, &["m".to_owned()], true, 8);
    let batch = Request { class: Class::Batch, prompt: 60_000, ..arrival(&queue) };
    let mut permit = turn_of(&queue, batch).await.unwrap();
    let interactive = Request { class: Class::Interactive, ..arrival(&queue) };
    let mut next = std::pin::pin!(turn_of(&queue, interactive));
    assert!(futures_util::poll!(&mut next).is_pending());
    permit.stopped().await;
    permit.lost();
    drop(permit);
    assert_eq!(next.await.unwrap().engine(), 0);
}

#[tokio::test]
async fn who_waits_is_shown_and_can_be_taken_out() {
    let queue = one_place();
    let _permit = turn(&queue).await.unwrap();
    let mut those = Vec::new();
    for number in 0..300_u32 {
        let class = if number % 3 == 0 { Class::Batch } else { Class::Default };
        let who = Who { request_id: number.to_string().into(), ..somebody() };
        those.push(queue.enter(&Request { class, ..arrival(&queue) }, who).unwrap());
    }
    let seen = queue.look("m").await.unwrap();
    assert_eq!(seen.line.waiting, [0, 0, 200, 100]);
    assert_eq!(seen.waits.len(), 300);
    let mut named: Vec<u32> = seen.waits.iter().map(|(_, who)| who.request_id.parse().unwrap()).collect();
    named.sort_unstable();
    assert_eq!(named, (0..300).collect::<Vec<_>>(), "everyone once");
    let batch = seen.waits.iter().position(|(wait, _)| wait.class == Class::Batch);
    assert_eq!(batch, Some(200), "the less urgent last");

    let (_, who) = &seen.waits[7];
    let at = who.request_id.parse::<usize>().unwrap();
    queue.withdraw(who.usage_id, "the deploy").await.unwrap();
    let waiting = those.remove(at);
    let refused = waiting.turn().await.map(drop);
    assert!(matches!(&refused, Err(Error::Withdrawn { reason }) if reason == "the deploy"), "{refused:?}");
    assert_eq!(queue.waiting("m"), 299);
    let again = queue.withdraw(who.usage_id, "").await;
    assert!(matches!(again, Err(Error::NotQueued { .. })), "{again:?}");
    drop(those);
    assert_eq!(queue.waiting("m"), 0);
    assert!(queue.look("nothing").await.is_none());
}
