//! Leases: what gateways may spend of hard budgets without asking.

use super::Budget;
use crate::{
    error::Error,
    store::{
        budgets, leases,
        prices::{self, CurrentPrice},
        windows,
    },
};
use ::budgets::{Amount, Ask, Lease, Stand, window::Window};
use policy::Time;
use shared::{
    db::{Db, Tx},
    event::{Change, Origin, log},
};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

use super::spend::WindowKey;

/// A window that begins within this time is told of and leased already, in microseconds.
const AHEAD: i64 = 60_000_000;

/// What a gateway says.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) gateway: Uuid,
    pub(crate) asks: BTreeMap<WindowKey, Ask>,
    /// Processes of before it whose records are in the ledger.
    pub(crate) ended: Vec<Uuid>,
}

/// What it is told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) windows: Vec<TellWindow>,
    pub(crate) granted: Vec<(WindowKey, Amount)>,
    pub(crate) prices: Vec<CurrentPrice>,
}

/// A window of a hard budget.
#[derive(Debug)]
pub(crate) struct TellWindow {
    pub(crate) budget: Budget,
    pub(crate) window: Window,
    pub(crate) exhausted: bool,
}

/// Hears a gateway, and gives it what is left of what it wants.
///
/// # Errors
/// [`Error::GatewayEnded`] when its leases were ended, or the store is away.
pub(crate) async fn sync(db: &Db, said: Said, now: Time) -> Result<Told, Error> {
    let mut tx = db.begin().await?;
    if leases::has_ended(&mut tx, said.gateway).await? {
        return Err(Error::GatewayEnded);
    }
    if !said.ended.is_empty() {
        end(&mut tx, &said.ended, now).await?;
    }
    let hard: Vec<Budget> = budgets::all(&mut tx).await?.into_iter().filter(|budget| budget.hard).collect();
    let known: HashMap<Uuid, &Budget> = hard.iter().map(|budget| (budget.id, budget)).collect();
    let asks: BTreeMap<WindowKey, Ask> =
        said.asks.into_iter().filter(|((budget, _), _)| known.contains_key(budget)).collect();
    let mut exhausted: HashMap<WindowKey, bool> = HashMap::new();
    let mut granted = Vec::new();
    if !asks.is_empty() {
        let keys: Vec<WindowKey> = asks.keys().copied().collect();
        let spent = windows::locked(&mut tx, &keys).await?;
        let held = leases::of(&mut tx, &keys).await?;
        let mut changed = Vec::new();
        for (key, ask) in asks {
            let limit = known.get(&key.0).map(|budget| budget.limit).unwrap_or_default();
            let of = held.iter().filter(|(other, _, _)| *other == key);
            let others = of.clone().filter(|(_, gateway, _)| *gateway != said.gateway);
            let others = others.fold(Amount::ZERO, |sum, (_, _, lease)| sum + lease.outstanding());
            let own = of.clone().find(|(_, gateway, _)| *gateway == said.gateway);
            let mut lease: Lease = own.map(|(_, _, lease)| *lease).unwrap_or_default();
            let stand = Stand { limit, spent: spent.get(&key).copied().unwrap_or_default(), others };
            lease.hear(ask, &stand);
            let left = limit.less(stand.spent + others + lease.outstanding());
            exhausted.insert(key, !limit.fits(Amount { money: 1, tokens: 1 }, left));
            granted.push((key, lease.granted));
            changed.push((key, lease));
        }
        leases::write(&mut tx, said.gateway, &changed, now).await?;
    }
    let prices = if hard.is_empty() { Vec::new() } else { prices::current(&mut tx, now).await? };
    tx.commit().await?;
    let windows = hard.into_iter().flat_map(|budget| windows_of(&budget, now)).map(|(budget, window)| {
        let exhausted = exhausted.get(&(budget.id, window.start)).copied().unwrap_or(false);
        TellWindow { budget, window, exhausted }
    });
    Ok(Told { windows: windows.collect(), granted, prices })
}

/// Ends the leases of gateways that are gone. Returns how many there were.
///
/// # Errors
/// When the store is away.
pub(crate) async fn release(db: &Db, gateway: Uuid, now: Time, origin: &Origin) -> Result<usize, Error> {
    let mut tx = db.begin().await?;
    let released = end(&mut tx, &[gateway], now).await?;
    let after = serde_json::json!({ "released": released });
    let change = Change::created("budget_leases", gateway.to_string(), after).called("released");
    log::append(&mut tx, origin, vec![change]).await?;
    tx.commit().await?;
    Ok(released)
}

async fn end(tx: &mut Tx, gateways: &[Uuid], now: Time) -> Result<usize, sqlx::Error> {
    leases::end(tx, gateways, now).await
}

/// The window that counts, and the next one where that begins soon.
fn windows_of(budget: &Budget, now: Time) -> Vec<(Budget, Window)> {
    let Ok(calendar) = budget.calendar() else { return Vec::new() };
    let window = calendar.window(now.0);
    let next = (window.end - now.0 <= AHEAD).then(|| calendar.window(window.end));
    std::iter::once(window).chain(next).map(|window| (budget.clone(), window)).collect()
}
