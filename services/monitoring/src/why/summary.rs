//! A story in sentences: what happened, where the time went, what it cost.

use super::{Story, Told, attempts, refusals::Refusal};
use crate::usage::{Kept, Outcome, Record};
use std::time::Duration;

pub(super) fn of(story: &Story) -> Vec<String> {
    let mut said = Vec::new();
    match &story.told {
        Told::Answered(kept) => said.push(ended(&kept.record)),
        Told::Refused(refusal) => said.extend([refused(refusal), waited(refusal)].into_iter().flatten()),
        Told::Failed(_, refusal) => said.extend(refused(refusal)),
    }
    if let Some(kept) = story.told.kept() {
        said.extend(time(&kept.record));
        said.extend(cost(kept, story.cost_unknown()));
    }
    said
}

fn refused(refusal: &Refusal) -> Option<String> {
    let Refusal { reason, message, duration, .. } = refusal;
    Some(format!("It was refused after {} ({reason}): {message}", seconds(*duration)))
}

fn waited(refusal: &Refusal) -> Option<String> {
    (refusal.waiting > 0)
        .then(|| format!("{} requests waited for `{}` then.", refusal.waiting, refusal.model))
}

fn ended(record: &Record) -> String {
    let took = seconds(record.duration.unwrap_or_default());
    match record.outcome {
        Outcome::Finished if record.cached => {
            format!(
                "It was answered in {took} without an engine: the answer was made before, or for another request."
            )
        }
        Outcome::Finished => format!("It was answered in {took}."),
        Outcome::Cancelled if record.course.reason == "DEADLINE_EXCEEDED" => {
            format!("Its time was over after {took}, before an answer was there.")
        }
        Outcome::Cancelled => format!("Its caller went away after {took}."),
        Outcome::Failed => format!("It failed after {took} ({}).", record.course.reason),
        Outcome::Crashed => "The gateway stopped before it could say how it ended.".into(),
    }
}

/// Where the time went.
fn time(record: &Record) -> Vec<String> {
    let mut said = Vec::new();
    let course = &record.course;
    if let Some(queue) = record.queue.filter(|_| !record.cached) {
        let others = match course.waiting {
            0 => "nobody else waited".to_owned(),
            1 => "one other request waited".to_owned(),
            many => format!("{many} others waited"),
        };
        said.push(format!("It was {} in the gateway until an engine had room; {others}.", seconds(queue)));
    }
    for attempt in &course.failed {
        let (took, ended) = (seconds(attempt.duration), &attempt.ended);
        said.push(format!("{} gave no answer after {took} ({ended}).", attempt.engine));
    }
    if let Some(last) = attempts(record).get(course.failed.len()) {
        let first = record.first_token.filter(|_| record.stream).map(|first| {
            format!(", {} of it until the first token", seconds(first.saturating_sub(last.asked_after)))
        });
        let took = seconds(last.duration);
        said.push(format!("{} took {took}{}.", last.engine, first.unwrap_or_default()));
    }
    said
}

fn cost(kept: &Kept, unknown: Option<String>) -> Option<String> {
    let record = &kept.record;
    let tokens = format!(
        "{} tokens read ({} of them known to the engine) and {} made{}",
        record.prompt_tokens,
        record.cached_prompt_tokens,
        record.completion_tokens,
        if record.estimated { ", by estimate" } else { "" },
    );
    match (kept.charge.cost, unknown) {
        (Some(cost), _) => Some(format!("It cost ${cost}: {tokens}.")),
        (None, Some(unknown)) => Some(format!("What it cost is not known, because {unknown}: {tokens}.")),
        (None, None) => None,
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.3} s", duration.as_secs_f64())
}
