//! An import of users through the public door, killed at any moment (SIGKILL): it goes on where it was, nobody is
//! missing and nobody is there twice.

use proto::permissions::v1::{
    self as pb,
    import_users_request::{Begin, Part, Rows},
    user_service_client::UserServiceClient,
};
use std::collections::BTreeSet;
use tests::{rpc, suite::Suite, until};
use tokio::task::JoinSet;

/// Rows of the whole.
const ALL: usize = 600;
/// Rows of a part.
const PART: usize = 10;
const IMPORT: &str = "0b8f3a52-6d0e-4a57-8a57-0f6b6d4f5a10";

fn email(number: usize) -> String {
    format!("import-{number}@example.org")
}

/// The import from a row on.
fn parts(from: usize) -> Vec<pb::ImportUsersRequest> {
    let begin = Part::Begin(Begin { import_id: IMPORT.to_owned(), ..Default::default() });
    let row = |number| pb::UserRow {
        email: email(number),
        display_name: "Somebody".to_owned(),
        ..Default::default()
    };
    let rows = (from..ALL).step_by(PART).map(|first| {
        let rows = (first..ALL.min(first + PART)).map(row).collect();
        Part::Rows(Rows { offset: first as u64, rows })
    });
    let parts = std::iter::once(begin).chain(rows);
    parts.map(|part| pb::ImportUsersRequest { part: Some(part) }).collect()
}

async fn client(suite: &Suite) -> UserServiceClient<rpc::Authorized> {
    UserServiceClient::new(rpc::channel(suite.address, &suite.first_run().api_key).await)
}

/// How many rows were taken in.
async fn taken(client: &mut UserServiceClient<rpc::Authorized>) -> usize {
    let request = pb::GetUserImportRequest { import_id: IMPORT.to_owned() };
    let answer = client.get_user_import(request).await;
    answer.map_or(0, |answer| answer.into_inner().progress.unwrap().next_offset as usize)
}

async fn users(client: &mut UserServiceClient<rpc::Authorized>) -> Vec<String> {
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListUsersRequest { page_size: 100, page_token, ..Default::default() };
        let answer = client.list_users(request).await.unwrap().into_inner();
        found.extend(answer.users.into_iter().map(|user| user.email));
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return found;
        }
    }
}

#[tokio::test]
async fn a_killed_import_of_users_goes_on_and_takes_nobody_in_twice() {
    let mut suite = Suite::start(&[]).await;
    let mut seen = 0;
    for moment in [30, 90, 200] {
        let (mut sender, mut looker) = (client(&suite).await, client(&suite).await);
        let mut sending = JoinSet::new();
        // Once from where it was, once from the beginning: both are right.
        let from = if moment == 90 { 0 } else { taken(&mut looker).await };
        sending.spawn(async move { sender.import_users(tokio_stream::iter(parts(from))).await });
        until("a part of the import", async || {
            seen = taken(&mut looker).await;
            (seen >= moment).then_some(())
        })
        .await;
        suite.process.kill();
        drop(sending.join_next().await);
        suite.start_again().await;
        let kept = taken(&mut client(&suite).await).await;
        assert!(kept >= seen && kept % PART == 0, "{kept} are kept of {seen} that were said to be");
    }
    let mut client = client(&suite).await;
    let from = taken(&mut client).await;
    let answer = client.import_users(tokio_stream::iter(parts(from))).await.unwrap().into_inner();
    let progress = answer.progress.unwrap();
    assert_eq!((progress.created, progress.existing, progress.failed), (ALL as u64, 0, 0));
    let found: Vec<String> =
        users(&mut client).await.into_iter().filter(|email| email.starts_with("import-")).collect();
    let each: BTreeSet<String> = found.iter().cloned().collect();
    assert_eq!((found.len(), each), (ALL, (0..ALL).map(email).collect()));
}
