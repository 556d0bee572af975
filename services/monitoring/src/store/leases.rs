//! What gateways hold of budgets.

use crate::budgets::spend::WindowKey;
use ::budgets::{Amount, Lease};
use shared::{
    db::{Time, Tx},
    on_tx,
};
use sqlx::QueryBuilder;
use uuid::Uuid;

const INSERT: &str = "INSERT INTO budget_leases (budget_id, window_start, gateway_id, granted_money, granted_tokens, \
     released_money, released_tokens, recorded_money, recorded_tokens, heard_time) ";

const ON_CONFLICT: &str = " ON CONFLICT (budget_id, window_start, gateway_id) DO UPDATE SET ";

const SELECT: &str = "SELECT budget_id, window_start, gateway_id, granted_money, granted_tokens, released_money, \
     released_tokens, recorded_money, recorded_tokens FROM budget_leases WHERE ";

#[derive(sqlx::FromRow)]
struct Row {
    budget_id: Uuid,
    window_start: Time,
    gateway_id: Uuid,
    granted_money: i64,
    granted_tokens: i64,
    released_money: i64,
    released_tokens: i64,
    recorded_money: i64,
    recorded_tokens: i64,
}

/// Adds what gateways spent as the ledger has it now: amounts by window and gateway, in order.
pub(crate) async fn record(
    tx: &mut Tx,
    spent: &[((WindowKey, Uuid), Amount)],
    now: policy::Time,
) -> Result<(), sqlx::Error> {
    let leases: Vec<_> = spent
        .iter()
        .map(|((key, gateway), amount)| (*key, *gateway, Lease { recorded: *amount, ..Lease::default() }))
        .collect();
    let add = "recorded_money = budget_leases.recorded_money + excluded.recorded_money, \
               recorded_tokens = budget_leases.recorded_tokens + excluded.recorded_tokens";
    insert(tx, &leases, add, now).await
}

/// Writes what a gateway was given and gave back.
pub(crate) async fn write(
    tx: &mut Tx,
    gateway: Uuid,
    leases: &[(WindowKey, Lease)],
    now: policy::Time,
) -> Result<(), sqlx::Error> {
    // What was recorded is there already.
    let unrecorded = |lease: Lease| Lease { recorded: Amount::ZERO, ..lease };
    let leases: Vec<_> = leases.iter().map(|(key, lease)| (*key, gateway, unrecorded(*lease))).collect();
    let set = "granted_money = excluded.granted_money, granted_tokens = excluded.granted_tokens, \
               released_money = excluded.released_money, released_tokens = excluded.released_tokens, \
               heard_time = excluded.heard_time";
    insert(tx, &leases, set, now).await
}

async fn insert(
    tx: &mut Tx,
    leases: &[(WindowKey, Uuid, Lease)],
    set: &'static str,
    now: policy::Time,
) -> Result<(), sqlx::Error> {
    if leases.is_empty() {
        return Ok(());
    }
    on_tx!(tx, |connection| {
        let mut query = QueryBuilder::new(INSERT);
        query.push_values(leases, |mut row, ((budget, start), gateway, lease)| {
            row.push_bind(*budget).push_bind(Time(policy::Time(*start))).push_bind(*gateway);
            for amount in [lease.granted, lease.released, lease.recorded] {
                // A lease is a part of a limit, and that has 64 bits.
                let money = i64::try_from(amount.money).unwrap_or(i64::MAX);
                row.push_bind(money).push_bind(amount.tokens);
            }
            row.push_bind(Time(now));
        });
        query.push(ON_CONFLICT).push(set);
        query.build().persistent(false).execute(connection).await.map(drop)
    })
}

/// All leases of these windows.
pub(crate) async fn of(
    tx: &mut Tx,
    keys: &[WindowKey],
) -> Result<Vec<(WindowKey, Uuid, Lease)>, sqlx::Error> {
    let rows: Vec<Row> = on_tx!(tx, |connection| {
        let mut select = QueryBuilder::new(SELECT);
        select.push("(budget_id, window_start) IN (");
        select.push_values(keys, |mut row, (budget, start)| {
            row.push_bind(*budget).push_bind(Time(policy::Time(*start)));
        });
        select.push(")");
        select.build_query_as().persistent(false).fetch_all(connection).await
    })?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// Whether a gateway's leases were ended for good.
pub(crate) async fn has_ended(tx: &mut Tx, gateway: Uuid) -> Result<bool, sqlx::Error> {
    let found: Option<(i64,)> = on_tx!(tx, |connection| {
        let select = "SELECT CAST(1 AS BIGINT) FROM budget_ended_gateways WHERE gateway_id = $1";
        sqlx::query_as(select).bind(gateway).fetch_optional(connection).await
    })?;
    Ok(found.is_some())
}

/// Ends the leases of gateways: nothing of them is outstanding any more, and nothing will be. Returns how many had anything.
pub(crate) async fn end(tx: &mut Tx, gateways: &[Uuid], now: policy::Time) -> Result<usize, sqlx::Error> {
    on_tx!(tx, |connection| {
        let mut query = QueryBuilder::new("INSERT INTO budget_ended_gateways (gateway_id, ended_time) ");
        query.push_values(gateways, |mut row, gateway| {
            row.push_bind(*gateway).push_bind(Time(now));
        });
        query.push(" ON CONFLICT (gateway_id) DO NOTHING");
        query.build().persistent(false).execute(&mut *connection).await?;
        let mut update = QueryBuilder::new(
            "UPDATE budget_leases SET \
             released_money = CASE WHEN granted_money - recorded_money > released_money \
             THEN granted_money - recorded_money ELSE released_money END, \
             released_tokens = CASE WHEN granted_tokens - recorded_tokens > released_tokens \
             THEN granted_tokens - recorded_tokens ELSE released_tokens END \
             WHERE (granted_money - recorded_money > released_money \
             OR granted_tokens - recorded_tokens > released_tokens) AND gateway_id IN (",
        );
        let mut list = update.separated(", ");
        for gateway in gateways {
            list.push_bind(*gateway);
        }
        update.push(")");
        let done = update.build().persistent(false).execute(&mut *connection).await?;
        Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
    })
}

impl From<Row> for (WindowKey, Uuid, Lease) {
    fn from(row: Row) -> Self {
        let amount = |money: i64, tokens| Amount { money: money.into(), tokens };
        let lease = Lease {
            granted: amount(row.granted_money, row.granted_tokens),
            released: amount(row.released_money, row.released_tokens),
            recorded: amount(row.recorded_money, row.recorded_tokens),
        };
        ((row.budget_id, row.window_start.0.0), row.gateway_id, lease)
    }
}
