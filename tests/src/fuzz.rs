//! Bounded runs of fuzz targets: what lies in `fuzz/corpus` for one, and a number of inputs made from that.
//!
//! A target is a function of bytes that panics when what it looks at does not keep its promises. `fuzz/` runs the same
//! functions for as long as one likes, and what it finds is put into the corpus, so that it is tried here ever after.

use proptest::{
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestRunner},
};
use std::{fs, path::Path};

/// Inputs made from the corpus in one run.
const RUNS: u32 = 2_000;
/// Longest input that is made of nothing.
const LENGTH: usize = 300;

/// An input, which shows its bytes as text.
#[derive(Clone)]
struct Input(Vec<u8>);

impl std::fmt::Debug for Input {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "b\"{}\"", self.0.escape_ascii())
    }
}

/// One thing done to an input.
#[derive(Debug, Clone)]
enum Step {
    Put(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
    Repeat(Index, Index),
    Append(Vec<u8>),
}

/// Runs a target on its corpus, and on inputs made from that.
pub fn bounded(name: &str, target: fn(&[u8])) {
    let corpus = corpus(name);
    corpus.iter().for_each(|input| target(input));
    let config = Config { cases: RUNS, failure_persistence: None, ..Config::default() };
    let ran = TestRunner::new(config).run(&inputs(corpus).prop_map(Input), |input| {
        target(&input.0);
        Ok(())
    });
    ran.unwrap_or_else(|failure| panic!("{name}: {failure}"));
}

/// What lies in the folder of a target, which must not be empty.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!files.is_empty(), "{name} has nothing to begin with");
    files.sort();
    files.into_iter().map(|file| fs::read(file).unwrap()).collect()
}

fn inputs(corpus: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let changed = (select(corpus), prop::collection::vec(step(), 0..6));
    let changed = changed.prop_map(|(input, steps)| steps.into_iter().fold(input, take));
    prop_oneof![3 => changed, 1 => prop::collection::vec(any::<u8>(), 0..LENGTH)]
}

fn step() -> impl Strategy<Value = Step> {
    let some = || prop::collection::vec(any::<u8>(), 1..12);
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Step::Put(at, byte)),
        (any::<Index>(), some()).prop_map(|(at, bytes)| Step::Insert(at, bytes)),
        (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Step::Remove(one, other)),
        (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Step::Repeat(one, other)),
        some().prop_map(Step::Append),
    ]
}

fn take(mut input: Vec<u8>, step: Step) -> Vec<u8> {
    let end = input.len() + 1;
    let between = |one: Index, other: Index| {
        let (one, other) = (one.index(end), other.index(end));
        one.min(other)..one.max(other)
    };
    match step {
        Step::Put(at, byte) => input.get_mut(at.index(end)).into_iter().for_each(|old| *old = byte),
        Step::Insert(at, bytes) => drop(input.splice(at.index(end)..at.index(end), bytes)),
        Step::Remove(one, other) => drop(input.drain(between(one, other))),
        Step::Repeat(one, other) => input.extend_from_within(between(one, other)),
        Step::Append(bytes) => input.extend(bytes),
    }
    input
}
