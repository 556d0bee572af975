//! What this process knows of hard budgets and prices, and what it holds.

use super::{Held, Holdings, SOON, Wanted, WindowKey};
use crate::error::Error;
use budgets::{Amount, Limit, Purse, window::Window};
use policy::{GroupId, KeyId, UserId};
use pricing::{Money, Price};
use prost::Message;
use proto::monitoring::v1::{self as pb, budget_subject::Subject as Wire};
use shared::time;
use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// The file with what was heard last, so that a gateway that starts while monitoring is away spends nothing that it does not
/// hold.
const FILE: &str = "budgets";

/// Whom or what a budget is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A user.
    User(UserId),
    /// The group through which a model is used.
    Group(GroupId),
    /// An API key.
    Key(KeyId),
    /// A model's own name.
    Model(String),
}

#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) held: Holdings,
    subjects: HashMap<Subject, Vec<WindowKey>>,
    prices: HashMap<String, Price>,
    /// Calls to monitoring that were made; each asks for what was missed before it.
    pub(super) calls: u64,
    file: PathBuf,
    /// What the file holds.
    kept: Vec<u8>,
}

impl Known {
    /// What was heard last before this process.
    pub(super) fn read(folder: &Path) -> Self {
        let file = folder.join(FILE);
        let kept = fs::read(&file).unwrap_or_default();
        let mut known = Self { file, ..Self::default() };
        if let Ok(heard) = pb::SyncBudgetsResponse::decode(kept.as_slice()) {
            known.take(&heard);
        }
        known.kept = kept;
        known
    }

    /// Takes over what monitoring says.
    pub(super) fn hear(&mut self, mut heard: pb::SyncBudgetsResponse) -> io::Result<()> {
        self.take(&heard);
        for grant in std::mem::take(&mut heard.grants) {
            let granted = Amount { money: grant.granted_pico_usd.into(), tokens: grant.granted_tokens };
            let key = key(&grant.budget_id, grant.window_start_time.as_ref());
            if let Some(held) = key.and_then(|key| self.held.get_mut(&key)) {
                held.purse.hear(granted);
            }
        }
        let kept = heard.encode_to_vec();
        if kept != self.kept {
            fs::write(&self.file, &kept)?;
            self.kept = kept;
        }
        Ok(())
    }

    fn take(&mut self, heard: &pb::SyncBudgetsResponse) {
        let price = |price: &pb::CurrentPrice| {
            let [input, cache_read, output] =
                [price.input, price.cache_read, price.output].map(|amount| amount.map(Money));
            (price.model.clone(), Price { input, cache_read, output })
        };
        self.prices = heard.prices.iter().map(price).collect();
        self.subjects.clear();
        let mut there = HashSet::new();
        for window in &heard.windows {
            let Some((key, subject, told)) = told(window) else { continue };
            there.insert(key);
            self.subjects.entry(subject).or_default().push(key);
            match self.held.get_mut(&key) {
                Some(held) => {
                    held.purse.set_limit(told.purse.limit());
                    held.name = told.name;
                    held.exhausted = told.exhausted;
                }
                None => {
                    self.held.insert(key, told);
                }
            }
        }
        // What is over or gone is forgotten once nothing of it is under way.
        self.held.retain(|key, held| there.contains(key) || !held.purse.is_idle());
    }

    /// Nothing is held any more but what is set aside.
    pub(super) fn empty(&mut self) {
        for held in self.held.values_mut() {
            held.purse.close();
        }
    }

    /// The windows that a request counts against; `None` when there are none.
    pub(super) fn windows_of(&self, wanted: &Wanted<'_>) -> Result<Option<Vec<WindowKey>>, Error> {
        if self.subjects.is_empty() {
            return Ok(None);
        }
        let admitted = wanted.admitted;
        let subjects = [
            Some(Subject::User(admitted.person.user)),
            admitted.group.map(Subject::Group),
            admitted.person.key.map(Subject::Key),
            Some(Subject::Model(admitted.prompt.served().to_owned())),
        ];
        let keys = subjects.iter().flatten().filter_map(|subject| self.subjects.get(subject)).flatten();
        let is_now =
            |key: &&WindowKey| self.held.get(key).is_some_and(|held| held.window.contains(wanted.at));
        let (windows, others): (Vec<WindowKey>, Vec<WindowKey>) = keys.partition(is_now);
        // Its new window has begun, and nobody has told of it yet.
        let is_begun = |key: &&WindowKey| !windows.iter().any(|(budget, _)| *budget == key.0);
        if let Some(key) = others.iter().find(is_begun) {
            return Err(self.refusal(&[*key], wanted.at, Amount::ZERO));
        }
        Ok((!windows.is_empty()).then_some(windows))
    }

    pub(super) fn price(&self, model: &str) -> Option<&Price> {
        self.prices.get(model)
    }

    /// The most tokens of output for each of so many choices that what is held pays for.
    pub(super) fn fits(&self, key: WindowKey, read: u64, price: Option<Price>, choices: u64) -> u64 {
        let Some(held) = self.held.get(&key) else { return 0 };
        let (limit, available) = (held.purse.limit(), held.purse.available());
        let money = Money(available.money.clamp(i64::MIN.into(), i64::MAX.into()) as i64);
        let by_money = match limit.money {
            Some(_) => price.and_then(|price| price.affords(money, read)).unwrap_or(0),
            None => u64::MAX,
        };
        let by_tokens = match limit.tokens {
            Some(_) => u64::try_from(available.tokens).unwrap_or(0).saturating_sub(read),
            None => u64::MAX,
        };
        by_money.min(by_tokens) / choices.max(1)
    }

    /// Sets so much aside of all of them, or of none.
    pub(super) fn reserve(&mut self, windows: &[WindowKey], amount: Amount) -> bool {
        for (index, key) in windows.iter().enumerate() {
            if self.held.get_mut(key).is_some_and(|held| held.purse.reserve(amount)) {
                continue;
            }
            for key in &windows[..index] {
                if let Some(held) = self.held.get_mut(key) {
                    held.purse.settle(amount, Amount::ZERO);
                }
            }
            return false;
        }
        true
    }

    /// Notes that so much is wanted of all of them, as far as they ever have it.
    pub(super) fn miss(&mut self, windows: &[WindowKey], amount: Amount) {
        for key in windows {
            let Some(held) = self.held.get_mut(key) else { continue };
            let amount = amount.min(held.purse.limit().less(Amount::ZERO));
            if held.purse.reserve(amount) {
                held.purse.settle(amount, Amount::ZERO);
            }
        }
    }

    /// Whether monitoring may have more of all of them.
    pub(super) fn may_grow(&self, windows: &[WindowKey]) -> bool {
        windows.iter().filter_map(|key| self.held.get(key)).all(|held| !held.exhausted)
    }

    /// Whether monitoring can give nothing that would make it fit: it has nothing left, or never has so much.
    pub(super) fn is_hopeless(&self, windows: &[WindowKey], amount: Amount) -> bool {
        windows.iter().filter_map(|key| self.held.get(key)).any(|held| {
            let limit = held.purse.limit();
            let lacks = !limit.fits(amount, held.purse.available());
            lacks && (held.exhausted || !limit.fits(amount, limit.less(Amount::ZERO)))
        })
    }

    /// Why it does not fit, and when it may: at the end of the window where nothing is left, soon where this process alone has
    /// too little.
    pub(super) fn refusal(&self, windows: &[WindowKey], at: i64, amount: Amount) -> Error {
        let held = windows.iter().filter_map(|key| self.held.get(key));
        let lacks = |held: &&Held| !held.purse.limit().fits(amount, held.purse.available());
        let first = held.clone().find(lacks).or_else(|| held.clone().next());
        let micros = |micros: i64| Duration::from_micros(u64::try_from(micros).unwrap_or(0));
        let retry_after = match first {
            Some(held) if held.exhausted => micros(held.window.end - at).max(SOON),
            _ => SOON,
        };
        Error::BudgetExhausted {
            budget: first.map(|held| held.name.clone()).unwrap_or_default(),
            retry_after,
        }
    }
}

fn key(budget: &str, start: Option<&prost_types::Timestamp>) -> Option<WindowKey> {
    Some((budget.parse().ok()?, time::from_proto(start?)?.0))
}

fn told(window: &pb::BudgetWindow) -> Option<(WindowKey, Subject, Held)> {
    let budget = window.budget.as_ref()?;
    let subject = match budget.subject.as_ref()?.subject.as_ref()? {
        Wire::UserId(id) => Subject::User(id.parse().ok()?),
        Wire::GroupId(id) => Subject::Group(id.parse().ok()?),
        Wire::KeyId(id) => Subject::Key(id.parse().ok()?),
        Wire::Model(name) => Subject::Model(name.clone()),
    };
    let limit = Limit {
        money: budget.limit_usd.as_deref().and_then(|text| text.parse::<Money>().ok()).map(|money| money.0),
        tokens: budget.limit_tokens.map(|tokens| i64::try_from(tokens).unwrap_or(i64::MAX)),
    };
    let start = time::from_proto(window.start_time.as_ref()?)?.0;
    let end = time::from_proto(window.end_time.as_ref()?)?.0;
    let held = Held {
        name: budget.name.clone(),
        window: Window { start, end },
        purse: Purse::new(limit),
        exhausted: window.exhausted,
    };
    Some(((budget.budget_id.parse().ok()?, start), subject, held))
}
