//! Answers beyond the single check as they cross the wire.

use crate::{freshness::View, questions::Subject};
use policy::{
    Cause, Decision, Expansion, Explanation, GrantId, Holding, Leaf, Policy, Reason, Simulation, Standing,
};
use proto::permissions::v1::{self as pb, branch, check_item, explain_request, subject};
use shared::{time, wire};

pub(super) fn model(model: explain_request::Model) -> check_item::Model {
    match model {
        explain_request::Model::ModelId(id) => check_item::Model::ModelId(id),
        explain_request::Model::ModelName(name) => check_item::Model::ModelName(name),
    }
}

impl From<Subject> for pb::Subject {
    fn from(one: Subject) -> Self {
        let subject = match one {
            Subject::User(id) => subject::Subject::UserId(id.to_string()),
            Subject::Group(id) => subject::Subject::GroupId(id.to_string()),
            Subject::Everyone => subject::Subject::Everyone(true),
        };
        Self { subject: Some(subject) }
    }
}

pub(super) fn holding(holding: Holding, policy: &Policy) -> pb::EffectivePermission {
    let Holding { model, action, decision, by, through } = holding;
    pb::EffectivePermission {
        model_id: model.to_string(),
        model_name: policy.model(model).map(|model| model.name.clone()).unwrap_or_default(),
        action: wire::action_to_proto(action).into(),
        allowed: decision.allowed,
        reason: decision.reason.as_str().to_owned(),
        grant_id: grant_id(&decision),
        valid_until: decision.valid_until.map(time::to_proto),
        group_ids: texts(&by),
        model_set_ids: texts(&through),
    }
}

pub(super) fn expansion(expansion: Expansion, view: &View<'_>) -> pb::ExpandResponse {
    let branch = |branch: policy::Branch| pb::Branch {
        parent: branch.parent.and_then(|parent| u32::try_from(parent).ok()),
        counts: branch.counts,
        expire_time: branch.expires_at.map(time::to_proto),
        more: branch.more,
        leaf: Some(leaf(branch.leaf)),
    };
    pb::ExpandResponse {
        branches: expansion.branches.into_iter().map(branch).collect(),
        more: expansion.more,
        token: view.token(),
        stale: view.stale,
    }
}

fn leaf(leaf: Leaf) -> branch::Leaf {
    match leaf {
        Leaf::Owner => branch::Leaf::Owner(true),
        Leaf::Grant { id, action, effect, standing, through } => branch::Leaf::Grant(pb::ExpandedGrant {
            grant_id: id.to_string(),
            action: wire::action_to_proto(action).into(),
            effect: wire::effect_to_proto(effect).into(),
            standing: self::standing(standing).into(),
            model_set_ids: texts(&through),
        }),
        Leaf::Everyone => branch::Leaf::Everyone(true),
        Leaf::User(id) => branch::Leaf::UserId(id.to_string()),
        Leaf::Group(id) => branch::Leaf::GroupId(id.to_string()),
    }
}

pub(super) fn explanation(explanation: Explanation, view: &View<'_>) -> pb::ExplainResponse {
    let missing = missing(&explanation);
    let Explanation { decision, owned_by, causes, ask } = explanation;
    pb::ExplainResponse {
        allowed: decision.allowed,
        reason: decision.reason.as_str().to_owned(),
        grant_id: grant_id(&decision),
        valid_until: decision.valid_until.map(time::to_proto),
        owner: owned_by.is_some(),
        owner_group_ids: texts(&owned_by.unwrap_or_default()),
        causes: causes.into_iter().map(|one| cause(one, &decision)).collect(),
        missing,
        ask_user_ids: texts(&ask.items),
        ask_more: ask.more,
        token: view.token(),
        stale: view.stale,
    }
}

fn cause(cause: Cause, decision: &Decision) -> pb::Cause {
    pb::Cause {
        grant_id: cause.grant.to_string(),
        action: wire::action_to_proto(cause.action).into(),
        effect: wire::effect_to_proto(cause.effect).into(),
        standing: standing(cause.standing).into(),
        group_ids: texts(&cause.by),
        model_set_ids: texts(&cause.through),
        decided: decision.grant == Some(cause.grant),
    }
}

/// What is missing for the answer to be yes, in words.
fn missing(explanation: &Explanation) -> String {
    let Decision { allowed, reason, grant, .. } = &explanation.decision;
    if *allowed {
        return String::new();
    }
    match reason {
        Reason::UnknownUser => "there is no such user; create it first".to_owned(),
        Reason::UserDisabled => "the user is disabled; an owner or admin can enable it".to_owned(),
        Reason::UnknownModel => "there is no such model; register it first".to_owned(),
        Reason::ModelDisabled => "the model is disabled; an owner or admin can activate it".to_owned(),
        Reason::Denied => format!(
            "grant {} denies it, which no other grant outweighs; it would have to be revoked",
            grant.as_ref().map(GrantId::to_string).unwrap_or_default()
        ),
        _ => match explanation.missing().next() {
            None => "a grant to the user, to one of its groups or to everyone".to_owned(),
            Some(Cause { grant, standing: Standing::NotYet, .. }) => {
                format!("grant {grant} would allow it, but has not started")
            }
            Some(Cause { grant, standing: Standing::Over, .. }) => {
                format!("grant {grant} would allow it, but has expired; a new one is needed")
            }
            Some(Cause { grant, .. }) => format!(
                "grant {grant} would allow it, but a membership on the way has expired, or a group or set is disabled"
            ),
        },
    }
}

pub(super) fn simulation(simulation: Simulation, view: &View<'_>) -> pb::SimulateResponse {
    let difference = |one: policy::Difference| pb::Difference {
        user_id: one.user.to_string(),
        model_id: one.model.to_string(),
        action: wire::action_to_proto(one.action).into(),
        allowed_before: one.before.allowed,
        allowed_after: one.after.allowed,
        reason_before: one.before.reason.as_str().to_owned(),
        reason_after: one.after.reason.as_str().to_owned(),
    };
    pb::SimulateResponse {
        differences: simulation.differences.into_iter().map(difference).collect(),
        more: simulation.more,
        token: view.token(),
        stale: view.stale,
    }
}

fn standing(standing: Standing) -> pb::Standing {
    match standing {
        Standing::InForce => pb::Standing::InForce,
        Standing::NotYet => pb::Standing::NotYet,
        Standing::Over => pb::Standing::Over,
        Standing::CutOff => pb::Standing::CutOff,
    }
}

fn grant_id(decision: &Decision) -> String {
    decision.grant.as_ref().map(GrantId::to_string).unwrap_or_default()
}

fn texts(ids: &[impl ToString]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}
