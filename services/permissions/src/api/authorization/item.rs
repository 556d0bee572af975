//! One check: from the fields of a request to a question, and whether the caller may ask it.

use super::{action, key_hash, peer};
use crate::{
    api::asked,
    check::{Answer, Question, Subject, Who, check},
    error::{Error, Forbidden},
    field,
    freshness::View,
    questions,
};
use proto::permissions::v1::{self as pb, check_item, check_request};
use shared::auth::Caller;

/// Longest word that comes back with an answer, in bytes.
const CORRELATION: usize = 100;

/// A single check as one of several.
pub(super) fn of(request: &pb::CheckRequest) -> pb::CheckItem {
    pb::CheckItem {
        user_id: request.user_id.clone(),
        model: request.model.clone().map(|model| match model {
            check_request::Model::ModelId(id) => check_item::Model::ModelId(id),
            check_request::Model::ModelName(name) => check_item::Model::ModelName(name),
        }),
        action: request.action,
        key_hash: request.key_hash.clone(),
        peer: request.peer.clone(),
        correlation_id: String::new(),
    }
}

pub(super) fn question(caller: &Caller, item: &pb::CheckItem) -> Result<Question, Error> {
    if item.correlation_id.len() > CORRELATION {
        return Err(Error::invalid("correlation_id", "must have at most 100 characters"));
    }
    let model = model(item.model.as_ref())?;
    Ok(Question { who: who(caller, item)?, model, action: action(item.action)? })
}

/// Which model is asked about.
pub(super) fn model(model: Option<&check_item::Model>) -> Result<Subject, Error> {
    match model {
        Some(check_item::Model::ModelId(id)) => field::id("model_id", id).map(Subject::Id),
        Some(check_item::Model::ModelName(name)) => {
            field::model_name("model_name", name.clone()).map(Subject::Name)
        }
        None => Err(Error::invalid("model", "must be named by model_id or model_name")),
    }
}

fn who(caller: &Caller, item: &pb::CheckItem) -> Result<Who, Error> {
    if item.key_hash.is_empty() {
        if !item.peer.is_empty() {
            return Err(Error::invalid("peer", "goes with key_hash"));
        }
        return asked(caller, &item.user_id).map(Who::User);
    }
    if *caller != Caller::Service {
        return Err(Forbidden::NotYourself.into());
    }
    if !item.user_id.is_empty() {
        return Err(Error::invalid("user_id", "must be left out when key_hash is there"));
    }
    Ok(Who::Key(key_hash(&item.key_hash)?, peer("peer", &item.peer)?))
}

/// The answer, if the caller may have it.
pub(super) fn answer(view: &View<'_>, caller: &Caller, question: &Question) -> Result<Answer, Error> {
    if let Who::User(user) = question.who {
        let model = question.model.find(view.policy());
        questions::may_ask(view.policy(), caller, Some(user), Some(model), view.now)?;
    }
    Ok(check(view, question))
}
