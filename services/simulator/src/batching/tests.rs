use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const STEP: Duration = Duration::from_millis(10);
const SPEED: Speed = Speed {
    per_prefill_token: Duration::from_micros(100),
    step: STEP,
    per_sequence: Duration::from_micros(50),
};

fn batch(max_num_seqs: usize, by_priority: bool) -> Batch {
    Batch::new(Limits { max_num_seqs, max_batched_tokens: 100, by_priority }, SPEED)
}

fn sequence(id: u64, prompt_tokens: u32, output_tokens: u32) -> Sequence {
    Sequence { id, priority: 0, prompt_tokens, output_tokens }
}

/// Runs steps until nothing is left and returns who finished, in order.
fn drain(batch: &mut Batch, mut now: Duration) -> Vec<(u64, Timeline)> {
    let mut finished = Vec::new();
    while let Some(length) = batch.begin(now) {
        now += length;
        let made = batch.end(now);
        finished.extend(made.iter().filter_map(|progress| Some((progress.id, progress.finished?))));
    }
    finished
}

#[test]
fn the_first_token_comes_with_the_end_of_the_prompt() {
    let mut batch = batch(4, false);
    batch.add(Duration::ZERO, sequence(1, 20, 2));
    let length = batch.begin(Duration::ZERO).unwrap();
    assert_eq!(length, STEP + SPEED.per_prefill_token * 20 + SPEED.per_sequence);
    let moment = Moment::Prefilled { prompt_tokens: 20, since_arrival: length, token: true };
    assert_eq!(batch.end(length), [Progress { id: 1, moment, finished: None }]);

    let second = batch.begin(length).unwrap();
    assert_eq!(second, STEP + SPEED.per_sequence);
    let progress = batch.end(length + second)[0];
    assert_eq!(progress.moment, Moment::Decoded { since_last: second });
    let timeline = progress.finished.unwrap();
    assert_eq!((timeline.output_tokens, timeline.last_token), (2, length + second));
    assert!(batch.begin(length + second).is_none());
}

#[test]
fn a_long_prompt_is_computed_in_chunks_while_others_go_on() {
    let mut batch = batch(4, false);
    batch.add(Duration::ZERO, sequence(1, 1, 9));
    batch.begin(Duration::ZERO);
    batch.end(STEP);
    batch.add(STEP, sequence(2, 250, 1));
    for (step, made) in [vec![1], vec![1], vec![1, 2]].into_iter().enumerate() {
        assert!(batch.begin(STEP).is_some());
        let ids: Vec<u64> = batch.end(STEP).iter().map(|progress| progress.id).collect();
        assert_eq!(ids, made, "step {step}");
    }
}

#[test]
fn the_lowest_priority_runs_first_and_ties_go_by_arrival() {
    let mut batch = batch(1, true);
    for (id, priority) in [5, 0, 0, -1, 10, -1].into_iter().enumerate() {
        batch.add(Duration::ZERO, Sequence { priority, ..sequence(id as u64, 1, 1) });
    }
    let order: Vec<u64> = drain(&mut batch, Duration::ZERO).iter().map(|(id, _)| *id).collect();
    assert_eq!(order, [3, 5, 1, 2, 0, 4]);
}

#[test]
fn without_the_policy_a_priority_changes_nothing() {
    let mut batch = batch(1, false);
    for (id, priority) in [5, -1].into_iter().enumerate() {
        batch.add(Duration::ZERO, Sequence { priority, ..sequence(id as u64, 1, 1) });
    }
    assert_eq!(drain(&mut batch, Duration::ZERO).first().unwrap().0, 0);
}

#[test]
fn an_aborted_sequence_makes_nothing_more() {
    let mut batch = batch(1, false);
    batch.add(Duration::ZERO, sequence(1, 5, 3));
    batch.add(Duration::ZERO, sequence(2, 7, 3));
    batch.begin(Duration::ZERO);
    assert_eq!(batch.abort(2), Some(Aborted { prefilling: true, prompt_tokens: 7 }));
    batch.end(STEP);
    batch.begin(STEP);
    assert_eq!(batch.abort(1), Some(Aborted { prefilling: false, prompt_tokens: 5 }));
    assert_eq!(batch.end(STEP), []);
    assert_eq!((batch.running(), batch.waiting()), (0, 0));
    assert_eq!(batch.abort(1), None);
}

#[test]
fn a_sequence_without_output_ends_with_its_prompt() {
    let mut batch = batch(1, false);
    batch.add(Duration::ZERO, sequence(1, 5, 0));
    let (id, timeline) = drain(&mut batch, Duration::ZERO)[0];
    assert_eq!((id, timeline.output_tokens, timeline.prompt_tokens), (1, 0, 5));
}

#[derive(Debug, Clone)]
enum Action {
    Add { priority: i64, prompt_tokens: u32, output_tokens: u32 },
    Abort { id: u64 },
    Step,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => (-3_i64..3, 1_u32..300, 0_u32..12)
            .prop_map(|(priority, prompt_tokens, output_tokens)| Action::Add { priority, prompt_tokens, output_tokens }),
        1 => (0_u64..40).prop_map(|id| Action::Abort { id }),
        4 => Just(Action::Step),
    ]
}

#[derive(Default)]
struct Account {
    wanted: u32,
    tokens: u32,
    ended: u32,
}

fn settle(accounts: &mut HashMap<u64, Account>, made: &[Progress]) {
    for progress in made {
        let account = accounts.get_mut(&progress.id).unwrap();
        account.tokens += u32::from(!matches!(progress.moment, Moment::Prefilled { token: false, .. }));
        account.ended += u32::from(progress.finished.is_some());
    }
}

proptest! {
    #[test]
    fn capacity_holds_and_every_sequence_ends_once_with_its_tokens(
        actions in vec(action(), 1..200), seats in 1_usize..6, by_priority: bool,
    ) {
        let mut batch = batch(seats, by_priority);
        let mut accounts: HashMap<u64, Account> = HashMap::new();
        let (mut now, mut next, mut aborted) = (Duration::ZERO, 0, Vec::new());
        for action in actions {
            match action {
                Action::Add { priority, prompt_tokens, output_tokens } => {
                    batch.add(now, Sequence { id: next, priority, prompt_tokens, output_tokens });
                    accounts.insert(next, Account { wanted: output_tokens, ..Account::default() });
                    next += 1;
                }
                Action::Abort { id } => if batch.abort(id).is_some() { aborted.push(id) },
                Action::Step => if let Some(length) = batch.begin(now) {
                    prop_assert!(batch.running.iter().map(|running| running.planned).sum::<u32>() <= 100);
                    now += length;
                    settle(&mut accounts, &batch.end(now));
                },
            }
            prop_assert!(batch.running() <= seats);
            prop_assert_eq!(batch.waiting.len(), batch.ranks.len());
        }
        while let Some(length) = batch.begin(now) {
            prop_assert!(batch.running() <= seats);
            now += length;
            settle(&mut accounts, &batch.end(now));
        }
        prop_assert_eq!(batch.waiting() + batch.running(), 0);
        for (id, account) in accounts {
            if aborted.contains(&id) {
                prop_assert_eq!(account.ended, 0);
                prop_assert!(account.tokens <= account.wanted);
            } else {
                prop_assert_eq!((account.ended, account.tokens), (1, account.wanted));
            }
        }
    }
}
