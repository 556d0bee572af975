//! Users from a stream: each row wholly or not at all, and on from where it broke (P2, P5).

use crate::{
    batches,
    world::{Caller, World, assert_invalid, assert_refused, config, on_both_engines, uuid},
};
use futures_util::stream;
use pb::import_users_request::{Begin, Part, Rows};
use prost::Message;
use proto::{common::v1::Role, permissions::v1 as pb};
use shared::on;
use std::time::Duration;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

type Sent = Result<Response<pb::ImportUsersResponse>, Status>;

fn begin(id: &str) -> pb::ImportUsersRequest {
    let begin = Begin { import_id: id.to_owned(), reason: "a new faculty".to_owned(), validate_only: false };
    pb::ImportUsersRequest { part: Some(Part::Begin(begin)) }
}

fn trial(id: &str) -> pb::ImportUsersRequest {
    let begin = Begin { import_id: id.to_owned(), validate_only: true, ..Default::default() };
    pb::ImportUsersRequest { part: Some(Part::Begin(begin)) }
}

fn part(offset: u64, rows: &[pb::UserRow]) -> pb::ImportUsersRequest {
    pb::ImportUsersRequest { part: Some(Part::Rows(Rows { offset, rows: rows.to_vec() })) }
}

fn row(email: &str, role: Role, groups: &[&str]) -> pb::UserRow {
    pb::UserRow {
        email: email.to_owned(),
        display_name: "Ana".to_owned(),
        role: role.into(),
        groups: groups.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn rows(count: usize) -> Vec<pb::UserRow> {
    (0..count).map(|n| row(&format!("import-{n}@example.org"), Role::Member, &["team"])).collect()
}

async fn send(caller: &Caller, parts: Vec<pb::ImportUsersRequest>) -> Sent {
    caller.users().import_users(Request::new(stream::iter(parts))).await
}

async fn sent(caller: &Caller, parts: Vec<pb::ImportUsersRequest>) -> pb::ImportProgress {
    send(caller, parts).await.unwrap().into_inner().progress.unwrap()
}

async fn stand(caller: &Caller, id: &str) -> Result<pb::ImportProgress, Status> {
    let request = pb::GetUserImportRequest { import_id: id.to_owned() };
    Ok(caller.users().get_user_import(request).await?.into_inner().progress.unwrap())
}

const fn counts(progress: &pb::ImportProgress) -> (u64, u64, u64, u64) {
    (progress.next_offset, progress.created, progress.existing, progress.failed)
}

/// The fields that a failure names.
fn fields(failure: &pb::ImportFailure) -> Vec<String> {
    let details = &failure.error.as_ref().unwrap().details;
    let bad = details.iter().filter(|any| any.type_url.ends_with("google.rpc.BadRequest"));
    let bad = bad.map(|any| tonic_types::pb::BadRequest::decode(any.value.as_slice()).unwrap());
    bad.flat_map(|bad| bad.field_violations).map(|violation| violation.field).collect()
}

async fn number(world: &World, query: &'static str) -> i64 {
    on!(&world.db, |pool| sqlx::query_scalar(query).fetch_one(pool).await).unwrap()
}

async fn users(world: &World) -> i64 {
    number(world, "SELECT count(*) FROM users").await
}

/// Sends a stream that neither goes on nor ends, until this much of it was taken in.
async fn send_some(
    caller: &Caller,
    id: &str,
    parts: Vec<pb::ImportUsersRequest>,
    until: u64,
) -> JoinSet<Sent> {
    let (sender, receiver) = mpsc::channel(8);
    for part in parts {
        sender.send(part).await.unwrap();
    }
    let (mut task, mut client) = (JoinSet::new(), caller.users());
    task.spawn(async move {
        let _open = sender;
        client.import_users(Request::new(ReceiverStream::new(receiver))).await
    });
    let arrival = async {
        while stand(caller, id).await.map_or(0, |progress| progress.next_offset) < until {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), arrival).await.unwrap();
    task
}

on_both_engines! {
    async fn each_row_is_done_wholly_or_not_at_all_and_what_is_wrong_is_named_with_its_number(world: World) {
        let (team, admin) = (world.group("team").await, world.user(Role::Admin).await);
        let known = pb::CreateUserRequest { email: "known@example.org".into(), display_name: "Known".into(), ..Default::default() };
        world.owner.users().create_user(known).await.unwrap();
        let all = [
            row("one@example.org", Role::Developer, &["team", "team"]),
            row("no address", Role::Member, &[]),
            row("KNOWN@example.org", Role::Admin, &["team"]),
            row("two@example.org", Role::Member, &["team", "nowhere"]),
            row("boss@example.org", Role::Owner, &[]),
            row("One@Example.org", Role::Member, &[]),
            pb::UserRow { display_name: String::new(), ..row("four@example.org", Role::Member, &[]) },
            row("three@example.org", Role::Unspecified, &[]),
        ];
        let (before, id) = (users(world).await, uuid());
        let tried = sent(&admin, vec![trial(&id), part(0, &all[..3]), part(3, &all[3..])]).await;
        assert_eq!((counts(&tried).0, counts(&tried).3, users(world).await), (8, 4, before));
        assert_eq!(stand(&admin, &id).await.unwrap_err().code(), Code::NotFound);
        let progress = sent(&admin, vec![begin(&id), part(0, &all[..3]), part(3, &all[3..])]).await;
        assert_eq!((counts(&progress), users(world).await), ((8, 2, 2, 4), before + 2));
        let failed: Vec<_> = progress.failures.iter().map(|one| (one.offset, one.error.as_ref().unwrap().code, fields(one))).collect();
        let invalid = Code::InvalidArgument as i32;
        assert_eq!(failed, [
            (1, invalid, vec!["rows[1].email".to_owned()]),
            (3, invalid, vec!["rows[3].groups[1]".to_owned()]),
            (4, Code::PermissionDenied as i32, vec![]),
            (6, invalid, vec!["rows[6].display_name".to_owned()]),
        ]);
        assert!(progress.failures[0].error.as_ref().unwrap().message.starts_with("rows[1].email: "));
        assert_eq!(stand(&admin, &id).await.unwrap(), progress);
        let list = pb::ListUsersRequest { email: "one@example.org".into(), ..Default::default() };
        let one = world.owner.users().list_users(list).await.unwrap().into_inner().users.remove(0);
        let members = pb::ListMembersRequest { group_id: team.clone(), ..Default::default() };
        let members = world.owner.groups().list_members(members).await.unwrap().into_inner().memberships;
        let members: Vec<_> = members.into_iter().map(|row| row.member.unwrap()).collect();
        assert_eq!(members, [pb::membership::Member::UserId(one.user_id)]);
        // Sent again nothing is done again; under another id everybody is there already.
        assert_eq!(sent(&admin, vec![begin(&id), part(0, &all)]).await, progress);
        assert_eq!(counts(&sent(&admin, vec![begin(&uuid()), part(0, &all)]).await), (8, 0, 4, 4));
        // Who imports is in the log, and why.
        assert_eq!(number(world, "SELECT count(*) FROM events WHERE action = 'imported' AND reason = 'a new faculty'").await, 2);
        world.policy().await;
    }

    async fn a_stream_that_breaks_goes_on_where_it_was(world: World) {
        world.group("team").await;
        let (before, id, all) = (users(world).await, uuid(), rows(50));
        let mut broken = send_some(&world.owner, &id, vec![begin(&id), part(0, &all[..10]), part(10, &all[10..25])], 25).await;
        broken.shutdown().await;
        let gap = vec![begin(&id), part(30, &all[30..])];
        assert_refused(send(&world.owner, gap).await, Code::OutOfRange, "IMPORT_GAP");
        let next = stand(&world.owner, &id).await.unwrap().next_offset;
        let rest = part(next, &all[usize::try_from(next).unwrap()..]);
        assert_eq!(counts(&sent(&world.owner, vec![begin(&id), rest]).await), (50, 50, 0, 0));
        // From the beginning, and cut otherwise.
        let again = vec![begin(&id), part(0, &all[..37]), part(20, &all[20..])];
        assert_eq!(counts(&sent(&world.owner, again).await), (50, 50, 0, 0));
        assert_eq!(users(world).await, before + 50);
        let imported = "SELECT count(*) FROM events WHERE kind = 'user' AND action = 'imported'";
        assert_eq!(number(world, imported).await, 50);
        let other = world.user(Role::Admin).await;
        assert_eq!(stand(&other, &id).await.unwrap_err().code(), Code::NotFound);
    }

    async fn two_streams_of_one_import_take_no_row_twice(world: World) {
        world.group("team").await;
        let (before, id, all) = (users(world).await, uuid(), rows(60));
        let parts = |size: usize| -> Vec<_> {
            let parts = all.chunks(size).enumerate().map(|(n, rows)| part(u64::try_from(n * size).unwrap(), rows));
            std::iter::once(begin(&id)).chain(parts).collect()
        };
        let (one, other) = tokio::join!(send(&world.owner, parts(7)), send(&world.owner, parts(5)));
        for sent in [one, other] {
            assert_eq!(counts(&sent.unwrap().into_inner().progress.unwrap()).0, 60);
        }
        assert_eq!(counts(&stand(&world.owner, &id).await.unwrap()), (60, 60, 0, 0));
        assert_eq!(users(world).await, before + 60);
    }

    async fn an_import_says_first_which_it_is_and_is_of_one_kind(world: World) {
        world.group("team").await;
        let (owner, all) = (&world.owner, rows(1));
        assert_invalid(send(owner, vec![part(0, &all)]).await, "begin");
        assert_invalid(send(owner, vec![begin("no id"), part(0, &all)]).await, "begin.import_id");
        assert_invalid(send(owner, vec![begin(&uuid())]).await, "rows");
        assert_invalid(send(owner, vec![begin(&uuid()), part(0, &[])]).await, "rows");
        assert_invalid(send(owner, vec![begin(&uuid()), part(0, &rows(1_001))]).await, "rows");
        let id = uuid();
        sent(owner, vec![begin(&id), part(0, &all)]).await;
        assert_invalid(batches::import(owner, &id).await, "begin.import_id");
        let request = pb::GetImportRequest { import_id: id };
        assert_refused(batches::batches(owner).get_import(request).await, Code::NotFound, "NOT_FOUND");
    }
}

#[tokio::test]
async fn an_import_goes_on_in_another_process_when_the_first_one_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.db");
    let world = World::on(World::file(&path).await, None, &config()).await;
    world.group("team").await;
    let (id, all) = (uuid(), rows(40));
    let mut broken = send_some(&world.owner, &id, vec![begin(&id), part(0, &all[..15])], 15).await;
    let other = world.another_on(World::file(&path).await, &config()).await;
    world.db.close().await;
    assert_eq!(counts(&stand(&other.owner, &id).await.unwrap()), (15, 15, 0, 0));
    assert_eq!(counts(&sent(&other.owner, vec![begin(&id), part(0, &all)]).await), (40, 40, 0, 0));
    broken.shutdown().await;
    other.end().await;
}
