//! Counting records against budgets, in the transaction that keeps them.

use super::{Budget, Subject};
use crate::{
    store::{budgets, leases, windows},
    usage::{Charge, Kept, Record},
};
use ::budgets::{
    Amount, crossed,
    window::{Calendar, Window},
};
use policy::Time;
use shared::db::Tx;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// What changes in a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) amount: Amount,
    /// Records whose cost is not known.
    pub(crate) unpriced: i64,
}

/// A budget and the start of its window.
pub(crate) type WindowKey = (Uuid, i64);

/// A change of what was spent: by a record that is new, or by one that is superseded.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    pub(crate) record: &'a Record,
    pub(crate) spent: Spent,
    /// The gateway that spends it of its leases, and of which budgets.
    pub(crate) leased: Option<&'a (Uuid, Vec<Uuid>)>,
}

impl Spent {
    /// What a record spends.
    pub(crate) fn by(record: &Record, charge: Charge) -> Self {
        let money = charge.cost.map_or(0, |cost| cost.0.into());
        let tokens = record.prompt_tokens + record.completion_tokens;
        Self { amount: Amount { money, tokens }, unpriced: i64::from(charge.cost.is_none()) }
    }

    /// What takes one state of a record to another.
    pub(crate) fn difference(before: &Kept, after: &Kept) -> Self {
        let [before, after] = [before, after].map(|kept| Self::by(&kept.record, kept.charge));
        Self { amount: after.amount - before.amount, unpriced: after.unpriced - before.unpriced }
    }

    fn add(&mut self, other: Self) {
        self.amount += other.amount;
        self.unpriced += other.unpriced;
    }
}

/// Counts changes against all budgets that they concern, and notes the thresholds that these reach. Whether there are such;
/// then the [`super::gauge`] is to be told after the commit.
pub(crate) async fn spend(tx: &mut Tx, changes: &[Change<'_>], now: Time) -> Result<bool, sqlx::Error> {
    let all = budgets::all(tx).await?;
    if all.is_empty() || changes.is_empty() {
        return Ok(false);
    }
    let mut tallies = Tallies::new(&all);
    for change in changes {
        tallies.count(change);
    }
    let windows: Vec<(WindowKey, Spent)> = tallies.windows.into_iter().collect();
    if windows.is_empty() {
        return Ok(false);
    }
    let totals = windows::add(tx, &windows).await?;
    let recorded: Vec<_> = tallies.leases.into_iter().collect();
    leases::record(tx, &recorded, now).await?;
    let limits: HashMap<Uuid, &Budget> = all.iter().map(|budget| (budget.id, budget)).collect();
    let reached = totals.iter().flat_map(|(key, total)| {
        let limit = limits.get(&key.0).map(|budget| budget.limit).unwrap_or_default();
        crossed(limit, *total).map(|percent| (*key, percent))
    });
    windows::reach(tx, &reached.collect::<Vec<_>>(), now).await
}

/// A budget that records are counted against.
struct Counted<'a> {
    budget: &'a Budget,
    calendar: Calendar,
    /// The window of the record before.
    last: Option<Window>,
}

/// What changes come to, in the order of the rows that they lock.
struct Tallies<'a> {
    budgets: HashMap<&'a Subject, Vec<Counted<'a>>>,
    windows: BTreeMap<WindowKey, Spent>,
    leases: BTreeMap<(WindowKey, Uuid), Amount>,
}

impl<'a> Tallies<'a> {
    fn new(all: &'a [Budget]) -> Self {
        let mut budgets: HashMap<&Subject, Vec<Counted<'_>>> = HashMap::new();
        for budget in all {
            // A zone that is not known any more was known when the budget was made: the days are those of UTC until it is.
            let calendar = budget.calendar().or_else(|_| Calendar::new(budget.period, ""));
            if let Ok(calendar) = calendar {
                budgets.entry(&budget.subject).or_default().push(Counted { budget, calendar, last: None });
            }
        }
        Self { budgets, windows: BTreeMap::new(), leases: BTreeMap::new() }
    }

    fn count(&mut self, change: &Change<'_>) {
        let at = change.record.start.0;
        for subject in Subject::of(change.record) {
            for Counted { budget, calendar, last } in self.budgets.get_mut(&subject).into_iter().flatten() {
                // Records come in the order of time, nearly all in one window.
                let window = last.filter(|window| window.contains(at)).unwrap_or_else(|| calendar.window(at));
                *last = Some(window);
                let key = (budget.id, window.start);
                self.windows.entry(key).or_default().add(change.spent);
                if let Some((gateway, _)) = change.leased.filter(|(_, budgets)| budgets.contains(&budget.id))
                {
                    *self.leases.entry((key, *gateway)).or_default() += change.spent.amount;
                }
            }
        }
    }
}
