//! Who inference talks to: a permissions service with one person in it, and a ledger that keeps what it is told.
//!
//! Both are servers of the contract's traits behind a channel, as the real ones are.

use futures_util::{Stream, stream};
use proto::{
    common::v1::Role,
    monitoring::v1::{self as usage, UsageRecord, usage_service_server::UsageService},
    permissions::v1::{
        Action, Effect, ModelOwner, ModelState, PolicyAlias, PolicyChange, PolicyGrant, PolicyKey,
        PolicyModel, PolicyUser, WatchPolicyRequest, WatchPolicyResponse,
        model_owner::Owner,
        policy_change::Change,
        policy_grant::Grantee,
        policy_service_server::PolicyService,
        watch_policy_response::{Delta, Heartbeat, Message, Snapshot},
    },
};
use shared::time;
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// The key of the one person there is, who owns the place and may use the model.
pub(crate) const KEY: &str = "tgk_the-key-of-the-one-person-in-the-policy---A";

/// A further name of the first model.
pub(crate) const ALIAS: &str = "a/further:name";

/// Tells a policy that never changes, but that everything may be taken back.
#[derive(Debug)]
pub(crate) struct Permissions {
    epoch: Uuid,
    facts: Vec<PolicyChange>,
    taking_back: Vec<PolicyChange>,
    taken_back: watch::Sender<bool>,
}

impl Permissions {
    /// One person, who may use these models.
    pub(crate) fn new(models: &[&str]) -> Self {
        // The same at every gateway, as if they had one service between them; models too.
        let user_id = Uuid::from_u128(1 << 64).to_string();
        let mut changes = vec![
            Change::PutUser(PolicyUser {
                user_id: user_id.clone(),
                role: Role::Owner.into(),
                disabled: false,
            }),
            Change::PutKey(PolicyKey {
                key_id: Uuid::from_u128(2 << 64).to_string(),
                key_hash: shared::auth::hash(KEY).as_bytes().to_vec().into(),
                user_id: user_id.clone(),
                ..PolicyKey::default()
            }),
        ];
        let mut taking_back = Vec::new();
        for (place, name) in models.iter().enumerate() {
            let model_id = Uuid::from_u128(place as u128 + 1).to_string();
            let model = PolicyModel {
                model_id: model_id.clone(),
                name: (*name).to_owned(),
                owner: Some(ModelOwner { owner: Some(Owner::UserId(user_id.clone())) }),
                state: ModelState::Active.into(),
            };
            let grant_id = Uuid::now_v7().to_string();
            taking_back.push(Change::PutModel(PolicyModel { owner: None, ..model.clone() }));
            taking_back.push(Change::RemoveGrant(grant_id.clone()));
            changes.push(Change::PutModel(model));
            if place == 0 {
                let (name, model_id) = (ALIAS.to_owned(), model_id.clone());
                changes.push(Change::PutAlias(PolicyAlias { name, model_id }));
            }
            changes.push(Change::PutGrant(PolicyGrant {
                grant_id,
                model_id,
                grantee: Some(Grantee::UserId(user_id.clone())),
                action: Action::Use.into(),
                effect: Effect::Allow.into(),
                ..PolicyGrant::default()
            }));
        }
        let told = |changes: Vec<Change>| {
            changes.into_iter().map(|change| PolicyChange { change: Some(change) }).collect()
        };
        let (facts, taking_back) = (told(changes), told(taking_back));
        Self { epoch: Uuid::now_v7(), facts, taking_back, taken_back: watch::Sender::new(false) }
    }

    /// What has everything taken back from the one person.
    pub(crate) fn taker(&self) -> watch::Sender<bool> {
        self.taken_back.clone()
    }
}

#[tonic::async_trait]
impl PolicyService for Permissions {
    type WatchPolicyStream = Pin<Box<dyn Stream<Item = Result<WatchPolicyResponse, Status>> + Send>>;

    async fn watch_policy(
        &self,
        _request: Request<WatchPolicyRequest>,
    ) -> Result<Response<Self::WatchPolicyStream>, Status> {
        let epoch = self.epoch.to_string();
        let first = Snapshot {
            revision: 1,
            facts: self.facts.clone(),
            last: true,
            time: Some(time::to_proto(time::now())),
        };
        let beat = tokio::time::interval(Duration::from_millis(200));
        let (taken_back, taking_back) = (self.taken_back.subscribe(), self.taking_back.clone());
        let messages = stream::unfold((Some(first), beat, 1), move |(first, mut beat, mut revision)| {
            let (epoch, taken_back, changes) = (epoch.clone(), *taken_back.borrow(), taking_back.clone());
            async move {
                beat.tick().await;
                let now = Some(time::to_proto(time::now()));
                let message = match first {
                    Some(first) => Message::Snapshot(first),
                    None if taken_back && revision == 1 => {
                        revision = 2;
                        Message::Delta(Delta { revision, changes, commit_time: now })
                    }
                    None => Message::Heartbeat(Heartbeat { revision, time: now }),
                };
                Some((Ok(WatchPolicyResponse { epoch, message: Some(message) }), (None, beat, revision)))
            }
        });
        Ok(Response::new(Box::pin(messages)))
    }
}

/// Keeps every record it is told, repeated ones too; and none while it is away.
#[derive(Debug, Clone, Default)]
pub(crate) struct Records(watch::Sender<Vec<UsageRecord>>, Arc<AtomicBool>);

impl Records {
    /// Takes nothing from now on, or everything again.
    pub(crate) fn set_away(&self, away: bool) {
        self.1.store(away, Ordering::SeqCst);
    }

    /// What came so far.
    pub(crate) fn all(&self) -> Vec<UsageRecord> {
        self.0.borrow().clone()
    }
}

#[tonic::async_trait]
impl UsageService for Records {
    async fn record_usage(
        &self,
        request: Request<usage::RecordUsageRequest>,
    ) -> Result<Response<usage::RecordUsageResponse>, Status> {
        if self.1.load(Ordering::SeqCst) {
            return Err(Status::unavailable("away"));
        }
        let records = request.into_inner().records;
        let recorded = u32::try_from(records.len()).unwrap();
        self.0.send_modify(|all| all.extend(records));
        Ok(Response::new(usage::RecordUsageResponse { recorded, duplicates: 0 }))
    }

    async fn get_usage(
        &self,
        _request: Request<usage::GetUsageRequest>,
    ) -> Result<Response<usage::GetUsageResponse>, Status> {
        Err(Status::unimplemented("inference does not read the ledger"))
    }

    async fn list_usage_records(
        &self,
        _request: Request<usage::ListUsageRecordsRequest>,
    ) -> Result<Response<usage::ListUsageRecordsResponse>, Status> {
        Err(Status::unimplemented("inference does not read the ledger"))
    }

    type ExportUsageStream = tonic::codegen::BoxStream<usage::ExportUsageResponse>;

    async fn export_usage(
        &self,
        _: Request<usage::ExportUsageRequest>,
    ) -> Result<Response<Self::ExportUsageStream>, Status> {
        Err(Status::unimplemented("inference does not read the ledger"))
    }

    async fn correct_usage(
        &self,
        _: Request<usage::CorrectUsageRequest>,
    ) -> Result<Response<usage::CorrectUsageResponse>, Status> {
        Err(Status::unimplemented("inference does not read the ledger"))
    }

    async fn rerate_usage(
        &self,
        _: Request<usage::RerateUsageRequest>,
    ) -> Result<Response<usage::RerateUsageResponse>, Status> {
        Err(Status::unimplemented("inference does not read the ledger"))
    }

    async fn reconcile_usage(
        &self,
        _: Request<usage::ReconcileUsageRequest>,
    ) -> Result<Response<usage::ReconcileUsageResponse>, Status> {
        Err(Status::unimplemented("inference does not read the ledger"))
    }
}
