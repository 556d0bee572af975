//! Alerts, what happened to them and who was told: [`rules`], [`silences`], [`history`], and here what the evaluator keeps.

pub(crate) mod history;
pub(crate) mod rules;
pub(crate) mod silences;

use crate::alerting::kept::{Acknowledgement, Desk, Kept, severity_number};
use alerts::{Alert, Fingerprint, Group, GroupKey, Routing, Severity, State};
use serde::{Serialize, de::DeserializeOwned};
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use sqlx::QueryBuilder;
use uuid::Uuid;

// It is whoever has it until then, or the first who asks after that.
const LEASE: &str = "UPDATE alert_desk SET holder = $1, until = $3 WHERE one = 1 AND (holder = $1 OR until <= $2) \
     RETURNING version, seeded, routing, routing_version, routing_updated";

// Within a transaction: nobody else can have it until that ends.
const HOLD: &str = "UPDATE alert_desk SET until = $2 WHERE one = 1 AND holder = $1 \
     RETURNING version, seeded, routing, routing_version, routing_updated";

const RELEASE: &str = "UPDATE alert_desk SET until = $2 WHERE one = 1 AND holder = $1";

const DESK: &str =
    "SELECT version, seeded, routing, routing_version, routing_updated FROM alert_desk WHERE one = 1";

const CHANGED: &str = "UPDATE alert_desk SET version = version + 1 WHERE one = 1";

const SEEDED: &str = "UPDATE alert_desk SET seeded = TRUE WHERE one = 1 AND seeded = FALSE RETURNING version, seeded, \
     routing, routing_version, routing_updated";

const ROUTE: &str = "UPDATE alert_desk SET routing = $2, routing_version = routing_version + 1, routing_updated = $3, \
     version = version + 1 WHERE one = 1 AND routing_version = $1 \
     RETURNING version, seeded, routing, routing_version, routing_updated";

const PUT: &str = "INSERT INTO alerts (fingerprint, rule, state, severity, body, held, told) \
     VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (fingerprint) DO UPDATE SET state = excluded.state, \
     severity = excluded.severity, body = excluded.body, held = excluded.held, told = excluded.told";

const REMOVE: &str = "DELETE FROM alerts WHERE fingerprint = $1";

const ACKNOWLEDGE: &str = "UPDATE alerts SET acknowledged = $2, acknowledged_by = $3, note = $4 \
     WHERE fingerprint = $1 AND state = 2";

const SELECT: &str =
    "SELECT fingerprint, rule, body, held, told, acknowledged, acknowledged_by, note FROM alerts";

const GROUPS: &str = "SELECT id, body FROM alert_groups";

const PUT_GROUP: &str = "INSERT INTO alert_groups (id, body) VALUES ($1, $2) \
     ON CONFLICT (id) DO UPDATE SET body = excluded.body";

const REMOVE_GROUP: &str = "DELETE FROM alert_groups WHERE id = $1";

#[derive(sqlx::FromRow)]
struct DeskRow {
    version: i64,
    seeded: bool,
    routing: Option<String>,
    routing_version: i64,
    routing_updated: Option<Time>,
}

#[derive(sqlx::FromRow)]
struct AlertRow {
    fingerprint: String,
    rule: Uuid,
    body: String,
    held: Option<String>,
    told: Option<Time>,
    acknowledged: Option<Time>,
    acknowledged_by: Option<String>,
    note: Option<String>,
}

#[derive(sqlx::FromRow)]
struct GroupRow {
    id: String,
    body: String,
}

/// Which alerts are listed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Filter {
    pub(crate) state: Option<State>,
    pub(crate) severity: Option<Severity>,
}

/// Takes or keeps the right to evaluate until `until`; nothing while somebody else has it.
pub(crate) async fn lease(
    db: &Db,
    holder: &str,
    now: policy::Time,
    until: policy::Time,
) -> Result<Option<Desk>, sqlx::Error> {
    let row = on!(db, |pool| {
        let query = sqlx::query_as::<_, DeskRow>(LEASE).bind(holder).bind(Time(now)).bind(Time(until));
        query.fetch_optional(pool).await
    })?;
    row.map(Desk::try_from).transpose()
}

/// The same within a transaction that writes what the holder decided.
pub(crate) async fn hold(tx: &mut Tx, holder: &str, until: policy::Time) -> Result<bool, sqlx::Error> {
    let row = on_tx!(tx, |connection| {
        let query = sqlx::query_as::<_, DeskRow>(HOLD).bind(holder).bind(Time(until));
        query.fetch_optional(connection).await
    })?;
    Ok(row.is_some())
}

/// Gives the right back.
pub(crate) async fn release(db: &Db, holder: &str, now: policy::Time) -> Result<(), sqlx::Error> {
    on!(db, |pool| sqlx::query(RELEASE).bind(holder).bind(Time(now)).execute(pool).await.map(drop))
}

/// The tree of routes, and how often things changed.
pub(crate) async fn desk(db: &Db) -> Result<Desk, sqlx::Error> {
    on!(db, |pool| sqlx::query_as::<_, DeskRow>(DESK).fetch_one(pool).await)?.try_into()
}

/// Notes that rules, silences or acknowledgements changed.
pub(crate) async fn changed(tx: &mut Tx) -> Result<(), sqlx::Error> {
    on_tx!(tx, |connection| sqlx::query(CHANGED).execute(connection).await.map(drop))
}

/// Notes that the installation has its first rules. Returns whether it did not have them.
pub(crate) async fn seeded(tx: &mut Tx) -> Result<bool, sqlx::Error> {
    let row = on_tx!(tx, |connection| sqlx::query_as::<_, DeskRow>(SEEDED).fetch_optional(connection).await)?;
    Ok(row.is_some())
}

/// Replaces the tree of this version; nothing when it is of another one.
pub(crate) async fn route(
    tx: &mut Tx,
    version: i64,
    routing: &Routing,
    now: policy::Time,
) -> Result<Option<Desk>, sqlx::Error> {
    let routing = written(routing);
    let row = on_tx!(tx, |connection| {
        let query = sqlx::query_as::<_, DeskRow>(ROUTE).bind(version).bind(&routing).bind(Time(now));
        query.fetch_optional(connection).await
    })?;
    row.map(Desk::try_from).transpose()
}

/// Keeps an alert. Who has acknowledged it stays.
pub(crate) async fn put(tx: &mut Tx, kept: &Kept) -> Result<(), sqlx::Error> {
    let severity = Severity::named(kept.alert.labels.get("severity")).unwrap_or(Severity::Warning);
    on_tx!(tx, |connection| {
        sqlx::query(PUT)
            .bind(kept.fingerprint.to_string())
            .bind(kept.rule)
            .bind(state_number(kept.alert.state))
            .bind(severity_number(severity))
            .bind(written(&kept.alert))
            .bind(kept.held.as_ref().map(written))
            .bind(kept.told.map(Time))
            .execute(connection)
            .await
            .map(drop)
    })
}

/// Forgets an alert.
pub(crate) async fn remove(tx: &mut Tx, fingerprint: Fingerprint) -> Result<(), sqlx::Error> {
    on_tx!(tx, |connection| {
        sqlx::query(REMOVE).bind(fingerprint.to_string()).execute(connection).await.map(drop)
    })
}

/// Notes that somebody knows of an alert. Returns whether it fires.
pub(crate) async fn acknowledge(
    tx: &mut Tx,
    fingerprint: Fingerprint,
    acknowledgement: &Acknowledgement,
) -> Result<bool, sqlx::Error> {
    let count = on_tx!(tx, |connection| {
        let query = sqlx::query(ACKNOWLEDGE).bind(fingerprint.to_string()).bind(Time(acknowledgement.at));
        let query = query.bind(&acknowledgement.by).bind(&acknowledgement.note);
        query.execute(connection).await.map(|done| done.rows_affected())
    })?;
    Ok(count > 0)
}

/// One alert.
pub(crate) async fn get(db: &Db, fingerprint: Fingerprint) -> Result<Option<Kept>, sqlx::Error> {
    let row = on!(db, |pool| {
        let mut select = QueryBuilder::new(SELECT);
        select.push(" WHERE fingerprint = ").push_bind(fingerprint.to_string());
        select.build_query_as::<AlertRow>().fetch_optional(pool).await
    })?;
    row.map(Kept::try_from).transpose()
}

/// Alerts, the worst first, those after `after` when there is one.
pub(crate) async fn page(
    db: &Db,
    filter: Filter,
    after: Option<(i32, &str)>,
    limit: u32,
) -> Result<Vec<Kept>, sqlx::Error> {
    let rows = on!(db, |pool| {
        let mut select = QueryBuilder::new(SELECT);
        match filter.state {
            Some(state) => select.push(" WHERE state = ").push_bind(state_number(state)),
            None => select.push(" WHERE state <= 2"),
        };
        if let Some(severity) = filter.severity {
            select.push(" AND severity = ").push_bind(severity_number(severity));
        }
        if let Some((severity, fingerprint)) = after {
            select.push(" AND (severity, fingerprint) < (").push_bind(severity);
            select.push(", ").push_bind(fingerprint.to_owned()).push(")");
        }
        select.push(" ORDER BY severity DESC, fingerprint DESC LIMIT ").push_bind(i64::from(limit));
        select.build_query_as::<AlertRow>().fetch_all(pool).await
    })?;
    rows.into_iter().map(Kept::try_from).collect()
}

/// All alerts.
pub(crate) async fn all(db: &Db) -> Result<Vec<Kept>, sqlx::Error> {
    let rows = on!(db, |pool| sqlx::query_as::<_, AlertRow>(SELECT).fetch_all(pool).await)?;
    rows.into_iter().map(Kept::try_from).collect()
}

/// What receivers were told of all groups.
pub(crate) async fn groups(db: &Db) -> Result<Vec<(GroupKey, Group)>, sqlx::Error> {
    let rows = on!(db, |pool| sqlx::query_as::<_, GroupRow>(GROUPS).fetch_all(pool).await)?;
    rows.into_iter().map(|row| Ok((read("id", &row.id)?, read("body", &row.body)?))).collect()
}

/// Keeps what a receiver was told.
pub(crate) async fn put_group(tx: &mut Tx, key: &GroupKey, group: &Group) -> Result<(), sqlx::Error> {
    on_tx!(tx, |connection| {
        sqlx::query(PUT_GROUP).bind(written(key)).bind(written(group)).execute(connection).await.map(drop)
    })
}

/// Forgets a group.
pub(crate) async fn remove_group(tx: &mut Tx, key: &GroupKey) -> Result<(), sqlx::Error> {
    on_tx!(tx, |connection| sqlx::query(REMOVE_GROUP).bind(written(key)).execute(connection).await.map(drop))
}

impl TryFrom<DeskRow> for Desk {
    type Error = sqlx::Error;

    fn try_from(row: DeskRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            version: row.version,
            seeded: row.seeded,
            routing: row.routing.map(|routing| read("routing", &routing)).transpose()?,
            routing_version: row.routing_version,
            routing_updated: row.routing_updated.map(policy::Time::from),
        })
    }
}

impl TryFrom<AlertRow> for Kept {
    type Error = sqlx::Error;

    fn try_from(row: AlertRow) -> Result<Self, sqlx::Error> {
        let acknowledgement = row.acknowledged.map(|at| Acknowledgement {
            at: at.0,
            by: row.acknowledged_by.unwrap_or_default(),
            note: row.note.unwrap_or_default(),
        });
        let alert: Alert = read("body", &row.body)?;
        let known = acknowledgement.filter(|known| alert.fired.is_some_and(|fired| known.at.0 >= fired.0));
        Ok(Self {
            fingerprint: row.fingerprint.parse().map_err(|_| unreadable("fingerprint"))?,
            rule: row.rule,
            alert,
            held: row.held.map(|held| read("held", &held)).transpose()?,
            told: row.told.map(policy::Time::from),
            acknowledgement: known,
        })
    }
}

/// The number of a state in the table; never given to another one.
fn state_number(state: State) -> i32 {
    match state {
        State::Pending => 1,
        State::Firing => 2,
        State::Resolved => 3,
    }
}

/// As JSON. Maps have texts as keys, so there is no way to fail.
fn written(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn read<T: DeserializeOwned>(column: &'static str, text: &str) -> Result<T, sqlx::Error> {
    serde_json::from_str(text).map_err(|_| unreadable(column))
}

fn unreadable(column: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(format!("alerts: {column} holds what this version cannot read").into())
}
