//! Registers the models that the configured engines serve, so that a first request needs no further step.

use inference::engines::Fleet;
use proto::permissions::v1::{
    ModelOwner, RegisterModelRequest, model_owner::Owner, model_service_client::ModelServiceClient,
};
use shared::{channel::Channel, server::Tasks};
use std::{collections::BTreeSet, time::Duration};
use tonic::Code;

/// Between two looks at what the engines serve.
const LOOK: Duration = Duration::from_secs(2);

/// Registers models and remembers which are done.
#[derive(Debug, Clone)]
pub(crate) struct Adopter {
    models: ModelServiceClient<Channel>,
    fleet: Fleet,
    /// Owner of what is registered; nobody when unknown.
    owner: Option<String>,
    known: BTreeSet<String>,
}

impl Adopter {
    pub(crate) fn new(permissions: Channel, fleet: Fleet, owner: Option<String>) -> Self {
        Self { models: ModelServiceClient::new(permissions), fleet, owner, known: BTreeSet::new() }
    }

    /// Registers what is new. Returns the names of all models seen so far.
    pub(crate) async fn adopt(&mut self) -> &BTreeSet<String> {
        let served: BTreeSet<String> = self
            .fleet
            .all()
            .iter()
            .flat_map(|engine| engine.sight().models.keys().cloned().collect::<Vec<_>>())
            .collect();
        for name in served.difference(&self.known.clone()) {
            let owner = self.owner.clone().map(|id| ModelOwner { owner: Some(Owner::UserId(id)) });
            let request = RegisterModelRequest {
                name: name.clone(),
                description: "served by a configured engine".into(),
                owner,
                reason: "found on an engine at start".into(),
                ..Default::default()
            };
            match self.models.register_model(request).await {
                Ok(_) => tracing::info!(model = name, "model registered"),
                Err(status) if status.code() == Code::AlreadyExists => {}
                Err(status) => {
                    tracing::warn!(model = name, message = status.message(), "model not registered");
                    continue;
                }
            }
            self.known.insert(name.clone());
        }
        &self.known
    }

    /// Goes on looking until the process ends; `found` is told each time there is more.
    pub(crate) fn watch(self, tasks: &Tasks, found: impl Fn(&BTreeSet<String>) + Send + Sync + 'static) {
        let adopter = std::sync::Arc::new(tokio::sync::Mutex::new(self));
        let found = std::sync::Arc::new(found);
        tasks.repeat(LOOK, move || {
            let (adopter, found) = (std::sync::Arc::clone(&adopter), std::sync::Arc::clone(&found));
            async move {
                let mut adopter = adopter.lock().await;
                let before = adopter.known.len();
                let known = adopter.adopt().await;
                if known.len() > before {
                    found(known);
                }
            }
        });
    }
}
