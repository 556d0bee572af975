//! Three permissions processes on one PostgreSQL and one Redis: what is promised of fresh answers holds whichever is
//! asked, and while processes stand still and servers go away (P8).

use proto::permissions::v1::{
    self as pb, Action, Verdict, authorization_service_client::AuthorizationServiceClient,
    check_request::Model, consistency::Requirement, grant::Grantee, grant_service_client::GrantServiceClient,
    group_service_client::GroupServiceClient, model_service_client::ModelServiceClient,
    replica_service_client::ReplicaServiceClient, user_service_client::UserServiceClient,
};
use std::net::SocketAddr;
use tests::{
    redis::Redis,
    rpc::{self, Authorized},
    several::Several,
    until,
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

const COUNT: usize = 3;
/// A connection to one process, as the owner.
#[derive(Clone)]
struct Node {
    owner: Authorized,
    admin: SocketAddr,
}

/// The processes, and a connection to each.
async fn start() -> (Several, Vec<Node>) {
    let several = Several::start(COUNT, Some(Redis::start())).await;
    let mut nodes = Vec::new();
    for (address, admin) in several.addresses.iter().zip(&several.admins) {
        nodes.push(Node { owner: rpc::channel(*address, &several.key).await, admin: *admin });
    }
    (several, nodes)
}

fn wanted(requirement: Requirement) -> Option<pb::Consistency> {
    Some(pb::Consistency { requirement: Some(requirement) })
}

fn fresh(token: &str) -> Option<pb::Consistency> {
    wanted(Requirement::AtLeastAsFresh(token.to_owned()))
}

fn within(millis: i32) -> Option<pb::Consistency> {
    let limit = prost_types::Duration { seconds: 0, nanos: millis * 1_000_000 };
    wanted(Requirement::MaxStaleness(limit))
}

impl Node {
    async fn user(&self, name: &str) -> String {
        let request = pb::CreateUserRequest {
            email: format!("{name}@example.org"),
            display_name: name.to_owned(),
            role: proto::common::v1::Role::Member.into(),
            ..Default::default()
        };
        let mut users = UserServiceClient::new(self.owner.clone());
        users.create_user(request).await.unwrap().into_inner().user.unwrap().user_id
    }

    async fn model(&self, name: &str) -> String {
        let request = pb::RegisterModelRequest { name: name.to_owned(), ..Default::default() };
        let mut models = ModelServiceClient::new(self.owner.clone());
        models.register_model(request).await.unwrap().into_inner().model.unwrap().model_id
    }

    async fn group(&self, name: &str) -> String {
        let request = pb::CreateGroupRequest { name: name.to_owned(), ..Default::default() };
        let mut groups = GroupServiceClient::new(self.owner.clone());
        groups.create_group(request).await.unwrap().into_inner().group.unwrap().group_id
    }

    async fn join(&self, group: &str, user: &str) {
        let membership = pb::Membership {
            member: Some(pb::membership::Member::UserId(user.to_owned())),
            expire_time: None,
            ..Default::default()
        };
        let request = pb::AddMemberRequest {
            group_id: group.to_owned(),
            membership: Some(membership),
            ..Default::default()
        };
        GroupServiceClient::new(self.owner.clone()).add_member(request).await.unwrap();
    }

    async fn leave(&self, group: &str, user: &str) {
        let request = pb::RemoveMemberRequest {
            group_id: group.to_owned(),
            member: Some(pb::remove_member_request::Member::UserId(user.to_owned())),
            ..Default::default()
        };
        GroupServiceClient::new(self.owner.clone()).remove_member(request).await.unwrap();
    }

    /// Returns the grant and the token.
    async fn allow(&self, grantee: Grantee, model: &str) -> (String, String) {
        let grant = pb::Grant {
            model_id: model.to_owned(),
            grantee: Some(grantee),
            action: Action::Use.into(),
            ..Default::default()
        };
        let request = pb::CreateGrantRequest { grant: Some(grant), ..Default::default() };
        let answer = GrantServiceClient::new(self.owner.clone()).create_grant(request).await.unwrap();
        let answer = answer.into_inner();
        (answer.grant.unwrap().grant_id, answer.token)
    }

    async fn revoke(&self, grant: &str, urgent: bool) -> pb::RevokeGrantResponse {
        let request = pb::RevokeGrantRequest { grant_id: grant.to_owned(), urgent, ..Default::default() };
        GrantServiceClient::new(self.owner.clone()).revoke_grant(request).await.unwrap().into_inner()
    }

    async fn check(
        &self,
        user: &str,
        model: &str,
        consistency: Option<pb::Consistency>,
    ) -> Result<pb::CheckResponse, Status> {
        let request = pb::CheckRequest {
            user_id: user.to_owned(),
            model: Some(Model::ModelId(model.to_owned())),
            action: Action::Use.into(),
            consistency,
            ..Default::default()
        };
        let mut client = AuthorizationServiceClient::new(self.owner.clone());
        client.check(request).await.map(tonic::Response::into_inner)
    }

    /// Asks as callers are told to: again, while the revision is on its way.
    async fn verdict(&self, user: &str, model: &str, consistency: Option<pb::Consistency>) -> Verdict {
        loop {
            match self.check(user, model, consistency.clone()).await {
                Ok(answer) => return answer.verdict(),
                Err(status) => assert_eq!(reason(&status), "REVISION_NOT_YET_APPLIED", "{status:?}"),
            }
        }
    }

    async fn usable(&self, user: &str, token: &str) -> Result<(usize, String), Status> {
        let request = pb::ListAccessibleModelsRequest {
            user_id: user.to_owned(),
            page_size: 1_000,
            consistency: Some(token).filter(|token| !token.is_empty()).and_then(fresh),
            ..Default::default()
        };
        let mut client = AuthorizationServiceClient::new(self.owner.clone());
        let answer = client.list_accessible_models(request).await?.into_inner();
        Ok((answer.models.len(), answer.token))
    }

    async fn live(&self) -> usize {
        let mut client = ReplicaServiceClient::new(self.owner.clone());
        let replicas = client.list_replicas(pb::ListReplicasRequest {}).await.unwrap().into_inner().replicas;
        replicas.iter().filter(|replica| replica.live).count()
    }

    async fn health(&self) -> String {
        let client = tests::http::Client::new(self.admin, None);
        client.get("/health/ready").await.text()
    }
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

#[tokio::test]
async fn whichever_process_is_asked_answers_are_as_fresh_as_promised() {
    let (house, nodes) = start().await;
    let (ana, model) = (nodes[0].user("ana").await, nodes[0].model("m").await);
    own_writes_are_read(&nodes, &ana, &model).await;
    reads_never_go_back(&nodes).await;
    a_new_enemy_never_gets_in(&nodes).await;
    an_urgent_change_names_who_stands_still(&house, &nodes, &ana, &model).await;
}

async fn own_writes_are_read(nodes: &[Node], ana: &str, model: &str) {
    for round in 0..30 {
        let (writer, reader) = (&nodes[round % COUNT], &nodes[(round + 1 + round / COUNT) % COUNT]);
        let (grant, token) = writer.allow(Grantee::UserId(ana.to_owned()), model).await;
        assert_eq!(reader.verdict(ana, model, fresh(&token)).await, Verdict::Allowed);
        let token = writer.revoke(&grant, false).await.token;
        assert_eq!(reader.verdict(ana, model, fresh(&token)).await, Verdict::Denied);
        let (grant, _) = writer.allow(Grantee::UserId(ana.to_owned()), model).await;
        let full = || wanted(Requirement::FullyConsistent(true));
        assert_eq!(reader.verdict(ana, model, full()).await, Verdict::Allowed);
        writer.revoke(&grant, false).await;
        assert_eq!(reader.verdict(ana, model, full()).await, Verdict::Denied);
    }
}

/// A writer only adds; a reader hops from process to process with its last token and must never see less.
async fn reads_never_go_back(nodes: &[Node]) {
    let reader = nodes[0].user("reader").await;
    let writing = async {
        for number in 0..40 {
            let node = &nodes[number % COUNT];
            let model = node.model(&format!("monotone-{number}")).await;
            node.allow(Grantee::UserId(reader.clone()), &model).await;
        }
    };
    let reading = async {
        let (mut last, mut token, mut hops) = (0, String::new(), 0);
        while last < 40 {
            hops += 1;
            match nodes[hops % COUNT].usable(&reader, &token).await {
                Ok((count, at)) => {
                    assert!(count >= last, "{count} after {last} with its token");
                    (last, token) = (count, at);
                }
                Err(status) => assert_eq!(reason(&status), "REVISION_NOT_YET_APPLIED"),
            }
        }
    };
    tokio::join!(writing, reading);
}

/// Eve is put out of a group before the group is let in. No process may ever let her in, whatever it has heard of.
async fn a_new_enemy_never_gets_in(nodes: &[Node]) {
    let eve = nodes[0].user("eve").await;
    for round in 0..10 {
        let (group, model) =
            (nodes[0].group(&format!("g-{round}")).await, nodes[0].model(&format!("secret-{round}")).await);
        nodes[0].join(&group, &eve).await;
        let change = async {
            nodes[1].leave(&group, &eve).await;
            nodes[2].allow(Grantee::GroupId(group.clone()), &model).await.1
        };
        let watch = async {
            for hop in 0..60 {
                let answer = nodes[hop % COUNT].check(&eve, &model, None).await.unwrap();
                assert_eq!(answer.verdict(), Verdict::Denied, "round {round}");
            }
        };
        let (token, ()) = tokio::join!(change, watch);
        for node in nodes {
            assert_eq!(node.verdict(&eve, &model, fresh(&token)).await, Verdict::Denied);
        }
    }
}

async fn an_urgent_change_names_who_stands_still(house: &Several, nodes: &[Node], ana: &str, model: &str) {
    until("all replicas", async || (nodes[0].live().await == COUNT).then_some(())).await;
    let (grant, _) = nodes[0].allow(Grantee::UserId(ana.to_owned()), model).await;
    assert_eq!(nodes[1].revoke(&grant, true).await.laggards, Vec::<String>::new());
    for node in nodes {
        assert_eq!(node.check(ana, model, None).await.unwrap().verdict(), Verdict::Denied, "without a token");
    }

    let (grant, token) = nodes[0].allow(Grantee::UserId(ana.to_owned()), model).await;
    assert_eq!(nodes[2].verdict(ana, model, fresh(&token)).await, Verdict::Allowed);
    house.processes[2].signal("STOP");
    let laggards = nodes[0].revoke(&grant, true).await.laggards;
    let still = format!(":{}", house.processes[2].id());
    assert!(laggards.len() == 1 && laggards[0].ends_with(&still), "{laggards:?} is who stands still");
    // Its lease runs out, and then it is waited for no longer.
    until("a lease that runs out", async || (nodes[0].live().await == COUNT - 1).then_some(())).await;
    let (grant, _) = nodes[0].allow(Grantee::UserId(ana.to_owned()), model).await;
    let last = nodes[0].revoke(&grant, true).await;
    assert_eq!(last.laggards, Vec::<String>::new());
    house.processes[2].signal("CONT");
    assert_eq!(nodes[2].verdict(ana, model, fresh(&last.token)).await, Verdict::Denied);
    until("its return", async || (nodes[0].live().await == COUNT).then_some(())).await;
}

#[tokio::test]
async fn redis_and_the_database_may_go_and_come() {
    let (mut house, nodes) = start().await;
    let (ana, model) = (nodes[0].user("ana").await, nodes[0].model("m").await);
    for node in &nodes {
        until("redis to be up", async || node.health().await.contains("redis").then_some(())).await;
    }

    house.redis.as_mut().unwrap().kill();
    for round in 0..5 {
        let (grant, token) = nodes[round % COUNT].allow(Grantee::UserId(ana.clone()), &model).await;
        let reader = &nodes[(round + 1) % COUNT];
        assert_eq!(reader.verdict(&ana, &model, fresh(&token)).await, Verdict::Allowed);
        nodes[round % COUNT].revoke(&grant, false).await;
        until("the write, by looking for it", async || {
            (reader.check(&ana, &model, None).await.unwrap().verdict() == Verdict::Denied).then_some(())
        })
        .await;
    }
    for node in &nodes {
        let said = until("redis to be missed", async || {
            Some(node.health().await).filter(|text| text.contains("looking for it"))
        });
        assert!(said.await.contains(r#""ok":true"#), "and nothing worse");
    }
    house.redis.as_mut().unwrap().start_again();
    for node in &nodes {
        let back = async || (!node.health().await.contains("looking for it")).then_some(());
        until("redis to be back", back).await;
    }

    let (grant, token) = nodes[0].allow(Grantee::UserId(ana.clone()), &model).await;
    for node in &nodes {
        assert_eq!(node.verdict(&ana, &model, fresh(&token)).await, Verdict::Allowed);
        node.check(&ana, &model, within(0)).await.unwrap();
    }
    house.postgres.tell("stop");
    for node in &nodes {
        // Who asks for nothing is answered from memory; who asks for a bound is refused once it is passed, and it is.
        assert_eq!(node.check(&ana, &model, None).await.unwrap().verdict(), Verdict::Allowed);
        let refused =
            until("a bound that is passed", async || node.check(&ana, &model, within(100)).await.err());
        let status = refused.await;
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "POLICY_STALE"));
        let retry = status.get_details_retry_info().and_then(|info| info.retry_delay);
        assert!(retry.is_some());
        until("answers marked stale", async || {
            node.check(&ana, &model, None).await.unwrap().stale.then_some(())
        })
        .await;
        let full = wanted(Requirement::FullyConsistent(true));
        assert_eq!(reason(&node.check(&ana, &model, full).await.unwrap_err()), "POLICY_STALE");
    }
    house.postgres.tell("start");
    for node in &nodes {
        until("fresh answers", async || node.check(&ana, &model, within(100)).await.ok()).await;
    }
    let token = nodes[1].revoke(&grant, false).await.token;
    for node in &nodes {
        assert_eq!(node.verdict(&ana, &model, fresh(&token)).await, Verdict::Denied);
    }
}
