//! Reads the usage ledger as its users do, over REST.

use crate::{http::Client, until};
use serde::Deserialize;
use std::collections::BTreeMap;

/// One usage record.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the contract says what they are")]
pub struct Record {
    pub usage_id: String,
    pub attempt: u32,
    pub request_id: String,
    pub user_id: String,
    pub key_id: String,
    pub model: String,
    pub engine: String,
    pub endpoint: String,
    pub stream: bool,
    pub outcome: String,
    pub estimated: bool,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

impl Record {
    /// How it ended, in small letters, and `estimated` where it is.
    #[must_use]
    pub fn end(&self) -> String {
        let outcome = self.outcome.trim_start_matches("OUTCOME_").to_lowercase();
        if self.estimated { outcome + " estimated" } else { outcome }
    }
}

/// Every record there is, page by page.
pub async fn records(client: &Client) -> Vec<Record> {
    let (mut records, mut token) = (Vec::new(), String::new());
    loop {
        let page =
            client.get(&format!("/api/v1/usage/records?page_size=1000&page_token={token}")).await.data();
        records.extend(serde_json::from_value::<Vec<Record>>(page["records"].clone()).unwrap());
        token = page["next_page_token"].as_str().unwrap().to_owned();
        if token.is_empty() {
            return records;
        }
    }
}

/// Every record, once there are at least so many.
pub async fn at_least(client: &Client, count: usize) -> Vec<Record> {
    until(&format!("{count} usage records"), async || {
        Some(records(client).await).filter(|records| records.len() >= count)
    })
    .await
}

/// Every record by the id that the caller gave its request; two of one id fail the test.
#[must_use]
pub fn by_request(records: Vec<Record>) -> BTreeMap<String, Record> {
    let mut found = BTreeMap::new();
    for record in records {
        if let Some(twice) = found.insert(record.request_id.clone(), record) {
            panic!("recorded twice: {twice:?} and {:?}", found[&twice.request_id]);
        }
    }
    found
}
