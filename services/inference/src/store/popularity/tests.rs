//! Counts of hours of weeks, on both engines.

use super::*;
use crate::store::{
    MIGRATIONS, SCHEMA,
    invalidations::{self, New},
};
use sqlx::{Connection, PgConnection};

async fn both(test: impl AsyncFn(&Vault)) {
    let sealer = Sealer::new(&[Sealer::generate()]).unwrap();
    test(&Vault { db: Db::memory(&MIGRATIONS).await.unwrap(), sealer: sealer.clone() }).await;
    let server = tokio::task::spawn_blocking(::tests::postgres::url).await.unwrap();
    let name = format!("popularity_{}", Uuid::now_v7().simple());
    let run = async |command: &str| {
        let mut connection = PgConnection::connect(server).await.unwrap();
        sqlx::QueryBuilder::new(command).push(&name).build().execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    };
    run("CREATE DATABASE ").await;
    let (address, _) = server.rsplit_once('/').unwrap();
    let db = Db::open(&format!("{address}/{name}").into(), SCHEMA, &MIGRATIONS).await.unwrap();
    test(&Vault { db: db.clone(), sealer }).await;
    db.close().await;
    run("DROP DATABASE ").await;
}

fn asked(key: u8, uses: i64) -> Asked {
    Asked {
        key: vec![key; 32],
        model: "m".into(),
        revision: String::new(),
        endpoint: "completions".into(),
        template: String::new(),
        tags: r#"["a"]"#.into(),
        owner: Uuid::from_u128(1),
        owner_key: None,
        body: b"{}".to_vec(),
        uses,
    }
}

const NOW: policy::Time = policy::Time(1_700_000_000_000_000);

async fn note(vault: &Vault, asked: &Asked, week: i64, hour: i32) {
    let mut tx = vault.begin().await.unwrap();
    count(&mut tx, &vault.sealer, asked, Hour { week, hour }, NOW).await.unwrap();
    tx.commit().await.unwrap();
}

fn keys(asked: &[Asked]) -> Vec<(u8, i64)> {
    asked.iter().map(|asked| (asked.key[0], asked.uses)).collect()
}

#[tokio::test]
async fn an_hour_is_expected_to_be_as_it_was_in_the_four_weeks_before() {
    both(async |vault| {
        let db = &vault.db;
        for week in 96..=100 {
            note(vault, &asked(1, 2), week, 9).await;
        }
        note(vault, &asked(1, 1), 99, 9).await;
        note(vault, &asked(2, 20), 97, 9).await;
        note(vault, &asked(2, 50), 99, 10).await;
        note(vault, &asked(3, 90), 95, 9).await;
        let next = Hour { week: 100, hour: 9 };
        assert_eq!(keys(&expected(vault, next, 4, 10).await.unwrap()), [(2, 20), (1, 9)]);
        assert_eq!(keys(&expected(vault, next, 4, 1).await.unwrap()), [(2, 20)]);
        let most = popular(vault, 96, 10).await.unwrap();
        assert_eq!(keys(&most), [(2, 70), (1, 11)]);
        assert!(most.iter().all(|asked| asked.body == b"{}"));
        let kept: Vec<(Vec<u8>,)> =
            on!(db, |pool| { sqlx::query_as("SELECT body FROM cache_requests").fetch_all(pool).await })
                .unwrap();
        assert!(kept.iter().all(|(body,)| !body.windows(2).any(|part| part == b"{}")), "it is sealed");
        purge(db, 96, policy::Time(NOW.0 - 1), 10).await.unwrap();
        assert_eq!(
            keys(&popular(vault, 0, 10).await.unwrap()),
            [(2, 70), (1, 11)],
            "weeks before are forgotten"
        );
        let mut tx = db.begin().await.unwrap();
        assert_eq!(known(&mut tx).await.unwrap().len(), 3);
        forget(&mut tx, &[2; 32]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(keys(&popular(vault, 0, 10).await.unwrap()), [(1, 11)], "counts go with their request");
        purge(db, 0, policy::Time(0), 1).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        assert_eq!(known(&mut tx).await.unwrap().len(), 1, "no more than are remembered");
        tx.commit().await.unwrap();
        purge(db, 0, NOW, 1).await.unwrap();
        assert_eq!(keys(&popular(vault, 0, 10).await.unwrap()), [], "not asked for so long");
    })
    .await;
}

#[tokio::test]
async fn invalidations_are_read_in_the_order_of_their_numbers_until_they_are_of_no_use() {
    both(async |vault| {
        let db = &vault.db;
        let before = invalidations::head(db).await.unwrap();
        assert_eq!(before.sequence, 0);
        for expires in [10, 30, 20] {
            let mut tx = db.begin().await.unwrap();
            let chosen = expires.to_string();
            let (made, expires) = (policy::Time(1), policy::Time(expires));
            let new = New { chosen: &chosen, actor: "somebody", reason: "a test", made, expires };
            let head = invalidations::insert(&mut tx, new).await.unwrap();
            assert_eq!(head.epoch, before.epoch);
            tx.commit().await.unwrap();
        }
        // One that is not committed is no gap.
        let mut tx = db.begin().await.unwrap();
        let new = New { chosen: "x", actor: "", reason: "", made: NOW, expires: NOW };
        assert_eq!(invalidations::insert(&mut tx, new).await.unwrap().sequence, 4);
        drop(tx);
        assert_eq!(invalidations::head(db).await.unwrap().sequence, 3);
        let read = async |after, most| {
            let rows = invalidations::after(db, after, most).await.unwrap();
            rows.into_iter().map(|row| (row.sequence, row.chosen)).collect::<Vec<_>>()
        };
        assert_eq!(read(0, 2).await, [(1, "10".to_owned()), (2, "30".to_owned())]);
        invalidations::purge(db, policy::Time(20), policy::Time(0)).await.unwrap();
        assert_eq!(read(0, 9).await, [(2, "30".to_owned())]);
        for (sequence, seen) in [(1, 5), (3, 7)] {
            invalidations::seen(db, "a", sequence, policy::Time(seen)).await.unwrap();
        }
        invalidations::seen(db, "b", 2, policy::Time(6)).await.unwrap();
        let seen = async |since| {
            let readers = invalidations::gateways(db, policy::Time(since)).await.unwrap();
            readers.into_iter().map(|reader| (reader.name, reader.sequence)).collect::<Vec<_>>()
        };
        assert_eq!(seen(0).await, [("a".to_owned(), 3), ("b".to_owned(), 2)]);
        assert_eq!(seen(6).await, [("a".to_owned(), 3)]);
    })
    .await;
}
