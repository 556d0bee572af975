//! How a budget stands, and where its window will end.

use super::Budget;
use crate::{
    error::Error,
    store::{
        budgets, history, leases,
        windows::{self, Reached, Standing},
    },
};
use ::budgets::{
    Amount,
    forecast::{Day, Forecast, Known, forecast},
    used_ratio,
    window::{Calendar, Window},
};
use policy::Time;
use shared::db::{Db, Tx};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Days that a forecast looks back.
const DAYS: i64 = 28;

/// How a budget stands.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) budget: Budget,
    pub(crate) window: Window,
    pub(crate) standing: Standing,
    pub(crate) leased: Amount,
    pub(crate) used_ratio: f64,
    pub(crate) reached: Vec<Reached>,
    pub(crate) forecast: Forecast,
    /// Whole days that the forecast rests on.
    pub(crate) days: usize,
}

/// Reads it, as it was at one moment.
///
/// # Errors
/// [`Error::NoBudget`], or when the store is away.
pub(crate) async fn status(db: &Db, id: Uuid, now: Time) -> Result<Status, Error> {
    let mut tx = db.begin_read().await?;
    let budget = budgets::get(&mut tx, id).await?.ok_or(Error::NoBudget)?;
    let calendar = budget.calendar().map_err(|_| Error::NoBudget)?;
    let window = calendar.window(now.0);
    let key = (budget.id, window.start);
    let standing = windows::since(&mut tx, Time(window.start)).await?.remove(&key).unwrap_or_default();
    let leases = leases::of(&mut tx, &[key]).await?;
    let leased = leases.iter().fold(Amount::ZERO, |sum, (_, _, lease)| sum + lease.outstanding());
    let reached = windows::reached(&mut tx, key).await?;
    let history = past(&mut tx, &budget, &calendar, now).await?;
    let days = calendar.days(window);
    let part = |amount: Amount| match budget.limit.money {
        Some(_) => amount.money as f64,
        None => amount.tokens as f64,
    };
    let limit = budget.limit.money.or(budget.limit.tokens).map(|limit| limit as f64);
    let spent = part(standing.spent);
    let known = Known { now: now.0, window, days: &days, spent, limit, history: &history };
    let forecast = forecast(&known);
    let used_ratio = used_ratio(budget.limit, standing.spent);
    let days = history.len();
    Ok(Status { budget, window, standing, leased, used_ratio, reached, forecast, days })
}

/// What was spent on each of the days before today, from the first with any use on, by the hourly sums: an hour counts to the
/// day that it begins in.
async fn past(tx: &mut Tx, budget: &Budget, calendar: &Calendar, now: Time) -> Result<Vec<Day>, sqlx::Error> {
    let start = calendar.days_before(now.0, DAYS);
    let today = calendar.days_before(now.0, 0);
    let hours = history::hours(tx, &budget.subject, Time(start), Time(today)).await?;
    let Some((first, _)) = hours.first() else { return Ok(Vec::new()) };
    let hours: BTreeMap<i64, Amount> = hours.iter().map(|(hour, amount)| (hour.0, *amount)).collect();
    let days = calendar.days(Window { start, end: today }).into_iter();
    let days = days.filter(|(day, _)| day.end > first.0);
    let spent = |day: &Window| {
        let own = hours.range(day.start..day.end);
        let total = own.fold(Amount::ZERO, |sum, (_, amount)| sum + *amount);
        if budget.limit.money.is_some() { total.money as f64 } else { total.tokens as f64 }
    };
    Ok(days.map(|(day, weekday)| Day { weekday, spent: spent(&day) }).collect())
}
