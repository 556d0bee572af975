//! First step: is the file one that can be run? Every line is read before the first one is asked.

use super::{Batch, Fault, line};
use crate::{error::Error, files::lines::Lines, store};
use shared::seal::rows::Vault;
use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
};

/// So many faults are told; who has more has one in common.
const TOLD: usize = 50;

/// How many lines the file has, or what is wrong with it.
pub(super) async fn check(vault: &Vault, batch: &Batch) -> Result<Result<u32, Vec<Fault>>, Error> {
    let Some(file) = store::files::get(vault, batch.input, batch.owner, super::now()).await? else {
        return Ok(Err(vec![deleted()]));
    };
    let (mut lines, mut total, mut faults) = (Lines::of(vault.clone(), file.id), 0, Vec::new());
    // As hashes, which are smaller than names; two of fifty thousand are equal once in ten thousand million files.
    let (hasher, mut names) = (RandomState::new(), HashSet::new());
    while let Some((number, text)) = lines.next().await? {
        total += 1;
        match line::read(number, &text, batch.endpoint) {
            Ok(ask) if !names.insert(hasher.hash_one(&ask.name)) => faults.push(Fault {
                code: "duplicate_custom_id".to_owned(),
                message: "another line has this `custom_id`".to_owned(),
                param: Some("custom_id".to_owned()),
                line: Some(number),
            }),
            Ok(_) => {}
            Err(fault) => faults.push(fault),
        }
        if faults.len() >= TOLD {
            break;
        }
    }
    if total == 0 {
        return Ok(Err(vec![whole("empty_file", "the input file has no lines")]));
    }
    Ok(if faults.is_empty() { Ok(total) } else { Err(faults) })
}

/// The file is no more.
pub(super) fn deleted() -> Fault {
    whole("input_file_missing", "the input file was deleted")
}

fn whole(code: &str, message: &str) -> Fault {
    Fault { code: code.to_owned(), message: message.to_owned(), param: None, line: None }
}
