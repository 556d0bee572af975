//! The methods by which people and services watch over the rest: the audit, incidents, replicas, privacy; and those of
//! identity providers.

#![expect(clippy::needless_update, reason = "a line here does not change when a request gets another field")]

use crate::{
    browser::{Browser, REDIRECT},
    exercise::call,
    load,
    world::{World, in_seconds},
};
use pb::{
    audit_service_client::AuditServiceClient, change_service_client::ChangeServiceClient,
    provider_service_client::ProviderServiceClient,
};
use proto::{common::v1::Role, permissions::v1 as pb};

/// Every way to read the log, and to read the past out of it.
pub(crate) async fn audit(world: &World) {
    let mut audit = AuditServiceClient::new(world.owner.channel());
    let (user_id, model_id) = (world.owner.id.clone(), load::model(1).to_string());
    let page = call!(audit, list_events, ListEventsRequest { page_size: 2 });
    call!(audit, list_events, ListEventsRequest { page_size: 2, page_token: page.next_page_token });
    call!(audit, list_events, ListEventsRequest { page_size: 2, oldest_first: true });
    let (kind, id) = ("grant".to_owned(), load::grant(7).to_string());
    for filter in [
        proto::common::v1::EventFilter { kind: kind.clone(), id: id.clone(), ..Default::default() },
        proto::common::v1::EventFilter { actor: user_id.clone(), ..Default::default() },
        proto::common::v1::EventFilter {
            kind: kind.clone(),
            action: "created".to_owned(),
            ..Default::default()
        },
        proto::common::v1::EventFilter { request_id: "request".to_owned(), ..Default::default() },
        proto::common::v1::EventFilter { start_time: Some(in_seconds(-60)), ..Default::default() },
    ] {
        let filter = Some(filter);
        call!(audit, list_events, ListEventsRequest { filter: filter.clone(), page_size: 2 });
        call!(audit, list_events, ListEventsRequest { filter, page_size: 2, oldest_first: true });
    }
    let newest = page.events[0].revision;
    call!(audit, get_event, GetEventRequest { revision: newest });
    let mut events = call!(audit, export_events, ExportEventsRequest { after_revision: newest - 1 });
    events.message().await.unwrap().expect("there is an event");
    let mut chain = call!(audit, verify_chain, VerifyChainRequest { from_revision: newest - 1 });
    chain.message().await.unwrap().expect("there is an answer");
    let at = || Some(pb::get_state_at_request::At::Revision(newest));
    call!(audit, get_state_at, GetStateAtRequest { at: at(), kind, page_size: 2 });
    let time = || Some(pb::check_at_request::At::Time(in_seconds(0)));
    let action = pb::Action::Use.into();
    let (user, model) = (user_id.clone(), model_id.clone());
    call!(audit, check_at, CheckAtRequest { at: time(), user_id: user, model_id: model, action });
    let from = Some(pb::diff_permissions_request::From::FromRevision(newest - 1));
    let to = Some(pb::diff_permissions_request::To::ToRevision(newest));
    call!(audit, diff_permissions, DiffPermissionsRequest { from, to, user_id: user_id.clone() });
    call!(audit, get_access_history, GetAccessHistoryRequest { user_id, model_id });
    let begun = tokio::time::timeout(std::time::Duration::from_secs(120), watching(world)).await;
    begun.expect("a stream has a beginning");
}

/// Watches until the first message. A process that is busy with reading a million grants refuses for a while.
async fn watching(world: &World) {
    let mut client = ChangeServiceClient::new(world.owner.channel());
    loop {
        let first = match client.watch_changes(pb::WatchChangesRequest::default()).await {
            Ok(changes) => changes.into_inner().message().await,
            Err(status) => Err(status),
        };
        match first {
            Err(status) if status.code() == tonic::Code::Unavailable => tokio::task::yield_now().await,
            first => return drop(first.unwrap().expect("a stream has a beginning")),
        }
    }
}

/// Incidents that are noted, listed and counted.
pub(crate) async fn incidents(world: &World) {
    let (actor, address) = (world.owner.id.clone(), "192.0.2.7".to_owned());
    let kind = pb::IncidentKind::CallRefused;
    let incident = pb::Incident {
        kind: kind.into(),
        actor: actor.clone(),
        address: address.clone(),
        count: 1,
        first_time: Some(in_seconds(-2)),
        last_time: Some(in_seconds(-1)),
        ..Default::default()
    };
    let incidents = vec![incident];
    call!(world.service().incidents(), record_incidents, RecordIncidentsRequest { incidents });
    let (mut incidents, kind) = (world.owner.incidents(), kind.into());
    let page = call!(incidents, list_incidents, ListIncidentsRequest { page_size: 1 });
    call!(incidents, list_incidents, ListIncidentsRequest { page_size: 1, page_token: page.next_page_token });
    for (kind, actor, address) in
        [(kind, String::new(), String::new()), (0, actor, String::new()), (0, String::new(), address)]
    {
        let (who, place) = (actor.clone(), address.clone());
        call!(incidents, list_incidents, ListIncidentsRequest { kind, actor: who, address: place });
        call!(incidents, count_incidents, CountIncidentsRequest { kind, actor, address });
    }
    call!(incidents, count_incidents, CountIncidentsRequest {});
}

/// Who serves which revision.
pub(crate) async fn replicas(world: &World) {
    let mut replicas = world.owner.replicas();
    let now = call!(replicas, get_revision, GetRevisionRequest {});
    for leaving in [false, true] {
        let request = pb::ReportReplicaRequest {
            replica_id: crate::world::uuid(),
            kind: pb::ReplicaKind::Inference.into(),
            name: "gateway".to_owned(),
            epoch: now.epoch.clone(),
            revision: now.head,
            leaving,
            gateway: Some(pb::Gateway {
                address: "http://gateway:7002".into(),
                weight: 1.0,
                ..Default::default()
            }),
        };
        world.service().replicas().report_replica(request).await.unwrap();
    }
    call!(replicas, list_replicas, ListReplicasRequest {});
}

/// What is kept, what is encrypted, and a person who wants to be forgotten.
pub(crate) async fn privacy(world: &World) {
    let mut privacy = world.owner.privacy();
    call!(privacy, get_retention, GetRetentionRequest {});
    call!(privacy, get_encryption_status, GetEncryptionStatusRequest {});
    let user_id = world.user(Role::Member).await.id;
    call!(privacy, erase_user, EraseUserRequest { user_id: user_id.clone(), confirm: user_id });
}

/// Somebody comes by way of a provider, twice, and is parted from it.
pub(crate) async fn providers(world: &World) {
    let mut visitor = ProviderServiceClient::new(world.nobody().channel());
    let mut owner = ProviderServiceClient::new(world.owner.channel());
    let listed = call!(visitor, list_identity_providers, ListIdentityProvidersRequest {}).providers;
    let mut user_id = String::new();
    for _ in 0..2 {
        let (provider, redirect_uri) = (listed[0].provider.clone(), REDIRECT.to_owned());
        let begun = call!(visitor, start_sign_in, StartSignInRequest { provider, redirect_uri });
        let back = Browser::default().sign_in(&begun.authorization_url, "").await;
        let (sign_in_token, state, code) = (begun.sign_in_token, back.get("state"), back.get("code"));
        let entered = call!(visitor, complete_sign_in, CompleteSignInRequest { sign_in_token, state, code });
        user_id = entered.user_id;
    }
    let mut identities = call!(owner, list_identities, ListIdentitiesRequest { user_id }).identities;
    let identity_id = identities.remove(0).identity_id;
    call!(owner, unlink_identity, UnlinkIdentityRequest { identity_id });
}
