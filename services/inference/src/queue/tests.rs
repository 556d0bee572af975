use super::*;

fn arrival() -> Arrival<'static> {
    let now = Instant::now();
    Arrival {
        model: "m",
        path: &[],
        class: Class::Default,
        prompt: 1,
        most: None,
        prefix: [].into(),
        arrived: now,
        deadline: now + Duration::from_secs(60),
        patience: Duration::from_secs(60),
        avoid: None,
        streams: true,
        preempted: 0,
    }
}

fn one_place() -> Queue {
    let queue = Queue::new(Settings::default());
    queue.engine(0, &["m".to_owned()], true, 1);
    queue
}

#[tokio::test]
async fn a_place_goes_to_the_next_in_line_when_its_permit_is_dropped() {
    let queue = one_place();
    let permit = queue.turn(arrival()).await.unwrap();
    let mut next = std::pin::pin!(queue.turn(arrival()));
    assert!(futures_util::poll!(&mut next).is_pending());
    assert_eq!(queue.waiting("m"), 1);
    drop(permit);
    assert_eq!(next.await.unwrap().engine(), 0);
    assert_eq!(queue.load(0), (0, 0));
}

#[tokio::test]
async fn who_goes_away_leaves_no_trace_even_when_the_turn_had_come() {
    let queue = one_place();
    let permit = queue.turn(arrival()).await.unwrap();
    {
        let mut gone = Box::pin(queue.turn(arrival()));
        assert!(futures_util::poll!(&mut gone).is_pending());
    }
    assert_eq!(queue.waiting("m"), 0);
    let mut called = Box::pin(queue.turn(arrival()));
    assert!(futures_util::poll!(&mut called).is_pending());
    drop(permit);
    assert_eq!(queue.load(0).0, 1);
    drop(called);
    assert_eq!(queue.load(0), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_at_the_deadline() {
    let queue = one_place();
    let _permit = queue.turn(arrival()).await.unwrap();
    assert!(matches!(queue.turn(arrival()).await, Err(Error::Deadline)));
    assert_eq!(queue.waiting("m"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_in_time_for_its_class_is_refused_with_a_time_to_come_back() {
    let (queue, tasks) = (one_place(), Tasks::default());
    queue.keep_time(&tasks);
    let _permit = queue.turn(arrival()).await.unwrap();
    let began = Instant::now();
    let refused = queue.turn(arrival()).await.map(drop);
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
    let batch = Arrival { class: Class::Batch, prompt: 60_000, ..arrival() };
    let mut permit = queue.turn(batch).await.unwrap();
    let interactive = Arrival { class: Class::Interactive, ..arrival() };
    let mut next = std::pin::pin!(queue.turn(interactive));
    assert!(futures_util::poll!(&mut next).is_pending());
    permit.stopped().await;
    permit.lost();
    drop(permit);
    assert_eq!(next.await.unwrap().engine(), 0);
}
