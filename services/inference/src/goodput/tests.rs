use super::*;

const STREAM: Asked = Asked { class: Class::Default, streams: true, choices: 1, most: Some(100) };
const WHOLE: Asked = Asked { streams: false, ..STREAM };
/// A second, and a tenth of one for each further token.
const PROMISE: Objective =
    Objective::Stream { first_token: Duration::from_secs(1), per_token: Duration::from_millis(100) };

fn used(made: u64, first: Option<u64>, millis: u64) -> Used {
    let first_token = first.map(Duration::from_millis);
    Used { prompt: 10, made, first_token, duration: Duration::from_millis(millis), ..Used::default() }
}

#[test]
fn an_answer_is_judged_by_its_first_and_its_last_token() {
    let judged =
        |made, first, millis| judge(&STREAM, PROMISE, Answered::Whole, &used(made, Some(first), millis));
    assert_eq!(judged(11, 1_000, 2_000), End::Met);
    assert_eq!(judged(11, 1_001, 1_500), End::LateFirstToken);
    assert_eq!(judged(11, 1_000, 2_001), End::SlowTokens);
    assert_eq!(judged(1, 900, 1_000), End::Met);
    let whole = |made, millis| judge(&WHOLE, PROMISE, Answered::Whole, &used(made, None, millis));
    assert_eq!((whole(11, 2_000), whole(11, 2_001)), (End::Met, End::LateFirstToken));
    assert_eq!((whole(0, 1_000), whole(0, 1_001)), (End::Met, End::LateFirstToken), "an embedding");
    let two = Asked { choices: 2, ..STREAM };
    let at_once = judge(&two, PROMISE, Answered::Whole, &used(22, Some(100), 2_001));
    assert_eq!(
        at_once,
        End::SlowTokens,
        "answers side by side are not given the time of one after the other"
    );
    let batch = Objective::Whole(Duration::from_secs(600));
    let of_batch = |millis| judge(&STREAM, batch, Answered::Whole, &used(11, Some(599_000), millis));
    assert_eq!((of_batch(600_000), of_batch(600_001)), (End::Met, End::LateFirstToken));
}

#[test]
fn who_leaves_counts_against_us_only_when_something_was_late() {
    let left = |asked: &Asked, made, first, millis| {
        judge(asked, PROMISE, Answered::Abandoned, &used(made, first, millis))
    };
    assert_eq!(left(&STREAM, 0, None, 900), End::Left);
    assert_eq!(left(&STREAM, 0, None, 1_100), End::LateFirstToken);
    assert_eq!(left(&STREAM, 5, Some(500), 1_500), End::Left, "the sixth was due then");
    assert_eq!(left(&STREAM, 5, Some(500), 1_501), End::SlowTokens);
    assert_eq!(left(&STREAM, 5, Some(1_100), 1_200), End::LateFirstToken);
    assert_eq!(left(&WHOLE, 0, None, 1_100), End::Left, "it may have come far");
    assert_eq!(
        left(&WHOLE, 0, None, 11_001),
        End::LateFirstToken,
        "not even the longest answer takes so long"
    );
    let cut = |first, millis| judge(&STREAM, PROMISE, Answered::Cut, &used(5, Some(first), millis));
    assert_eq!((cut(500, 900), cut(1_100, 1_200)), (End::Cut, End::LateFirstToken));
}

#[test]
fn every_request_is_counted_once_and_refused_ones_are_offered() {
    let goodput = Goodput::new(Instant::now());
    let begin = || {
        let mut trial = goodput.begin("m", STREAM, Instant::now());
        trial.promised(PROMISE);
        trial
    };
    begin().answered(Answered::Whole, &used(11, Some(500), 1_500));
    begin().refused(&Error::Late { model: "m".into(), retry_after: Duration::ZERO });
    begin().refused(&Error::EngineFailed { cause: "connect" });
    begin().refused(&Error::Malformed("no".into()));
    drop(begin());
    let within = goodput.within(WINDOWS[0], Some("m"));
    let [(model, Class::Default, window)] = &within[..] else { panic!("{within:?}") };
    assert_eq!(model, "m");
    let totals = &window.totals;
    let counted = |end| totals.of(end);
    assert_eq!(totals.offered(), 3);
    let each = [End::Met, End::Refused, End::EngineFailed, End::Invalid, End::Left].map(counted);
    assert_eq!(each, [1; 5]);
    assert_eq!((totals.met_tokens, totals.prefill, totals.decode), (21, 10, 11));
    assert!(goodput.within(WINDOWS[0], Some("other")).is_empty());
}

#[test]
fn windows_forget_and_need_no_more_room() {
    let mut track = Track::default();
    let second = |at| Duration::from_secs(at);
    for at in 0..10_000 {
        track.record(End::Met, &used(11, Some(500), 1_500), second(at));
    }
    let now = second(9_999);
    for (window, least, most) in [(WINDOWS[0], 60, 70), (WINDOWS[1], 300, 360), (WINDOWS[2], 3_600, 3_660)] {
        let seen = track.within(window, now);
        assert!(
            (least..=most).contains(&seen.totals.of(End::Met)),
            "{window:?}: {}",
            seen.totals.of(End::Met)
        );
        let rate = seen.totals.of(End::Met) as f64 / seen.covered.as_secs_f64();
        assert!((rate - 1.0).abs() < 0.03, "{window:?}: {rate}");
        let first = seen.quantile(Time::FirstToken, 0.99).unwrap();
        assert!((450..550).contains(&first.as_millis()), "{first:?}");
        let per_token = seen.quantile(Time::PerToken, 0.5).unwrap();
        assert!((90..110).contains(&per_token.as_millis()), "{per_token:?}");
    }
    let quiet = track.within(WINDOWS[0], second(10_200));
    assert_eq!(quiet.totals, Totals::default());
    assert_eq!(track.totals().of(End::Met), 10_000);
}
