//! Hard budgets at the gateway: it holds a part of each, sets aside what a request may cost before that may wait, and settles
//! when it is over. What fits into that waits for nobody: the parts are kept filled in the background. What does not is refused
//! only when monitoring has said so, and waits for that a moment.

mod known;
mod predecessors;
mod sync;

use crate::{
    admit::Admitted,
    error::Error,
    prompt::{Endpoint, Prompt},
};
use budgets::{Amount, Purse, window::Window};
use known::Known;
pub use known::Subject;
use pricing::{Price, Tokens};
use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
pub use sync::start;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};
use uuid::Uuid;

/// Tokens that an engine's chat template adds to a prompt at most.
const TEMPLATE: u64 = 256;
/// Tokens that are leased for an answer of no said length when there is no room for any.
const LEAST: u64 = 1_024;
/// When a purse may be full again.
const SOON: Duration = Duration::from_secs(1);
/// How long a request waits to hear whether it fits, at most.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is answered, while others take what it asked for.
const ANSWERS: usize = 3;

/// A budget and the start of its window, in microseconds.
pub(crate) type WindowKey = (Uuid, i64);

/// The parts of hard budgets that this process holds.
#[derive(Debug, Clone)]
pub struct Budgets(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// This process, in the words of monitoring.
    gateway: Uuid,
    known: Mutex<Known>,
    /// Somebody found a purse empty.
    empty: Notify,
    /// The last call to monitoring that is over, whatever came of it.
    over: watch::Sender<u64>,
}

/// A window's budget and what is held of it.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) name: String,
    pub(crate) window: Window,
    pub(crate) purse: Purse,
    /// Nothing is left where the parts come from.
    pub(crate) exhausted: bool,
}

/// What is set aside for a request. Dropped without having been settled, it was not used.
#[derive(Debug)]
pub struct Hold {
    budgets: Budgets,
    windows: Vec<WindowKey>,
    amount: Amount,
    price: Option<Price>,
}

/// What is set aside, and how much may be made where the request does not say.
type Reserved = Option<(Hold, Option<u64>)>;

/// Why nothing could be set aside.
enum Short {
    /// It does not fit, or cannot be told.
    Refused(Error),
    /// It does not fit into what is held; the call to monitoring of this number asks for more.
    Asked(Error, u64),
}

/// A request before admission.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Who asks for which model.
    pub admitted: &'a Admitted,
    /// When the request was accepted, in microseconds since 1970.
    pub at: i64,
    /// The most tokens that the engines of the model read and make for one request.
    pub context: Option<u32>,
}

impl Budgets {
    /// Of a process, with what its predecessor knew.
    #[must_use]
    pub fn open(folder: &Path) -> Self {
        let known = Mutex::new(Known::read(folder));
        Self(Arc::new(Shared {
            gateway: Uuid::now_v7(),
            known,
            empty: Notify::new(),
            over: watch::Sender::new(0),
        }))
    }

    /// The name of this process in records.
    #[must_use]
    pub fn gateway(&self) -> Uuid {
        self.0.gateway
    }

    /// Sets aside what a request may cost of all hard budgets that it counts against. Where it does not say how much may be
    /// made, that becomes what fits, which is returned. What does not fit into what is held waits until monitoring has said
    /// whether there is more, at most until `until`.
    ///
    /// # Errors
    /// [`Error::BudgetExhausted`] and [`Error::PriceUnknown`].
    pub async fn reserve(&self, wanted: &Wanted<'_>, until: Instant) -> Result<Reserved, Error> {
        let mut end = None;
        for answers in 0..ANSWERS {
            match self.attempt(wanted, answers > 0) {
                Ok(reserved) => return Ok(reserved),
                Err(Short::Refused(error)) => return Err(error),
                Err(Short::Asked(_, call)) => {
                    let end = *end.get_or_insert_with(|| until.min(Instant::now() + PATIENCE));
                    let mut over = self.0.over.subscribe();
                    let answered = timeout_at(end, over.wait_for(|over| *over >= call)).await;
                    if !matches!(answered, Ok(Ok(_))) {
                        break;
                    }
                }
            }
        }
        self.attempt(wanted, true).map_err(|(Short::Refused(error) | Short::Asked(error, _))| error)
    }

    /// `asked` says that monitoring was asked for more already.
    fn attempt(&self, wanted: &Wanted<'_>, asked: bool) -> Result<Reserved, Short> {
        let mut known = self.lock();
        let windows = match known.windows_of(wanted) {
            Ok(Some(windows)) => windows,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.0.empty.notify_one();
                return Err(Short::Asked(error, known.calls + 1));
            }
        };
        let prompt = &wanted.admitted.prompt;
        let price = known.price(prompt.served()).copied();
        let in_money = windows.iter().filter_map(|key| known.held.get(key));
        if in_money.clone().any(|held| held.purse.limit().money.is_some()) && !is_known(price, prompt) {
            return Err(Short::Refused(Error::PriceUnknown { model: prompt.served().to_owned() }));
        }
        let context = wanted.context.map(u64::from);
        let read = (prompt.body.len() as u64).saturating_add(TEMPLATE).min(context.unwrap_or(u64::MAX));
        let (made, set) = match most(prompt) {
            Some(most) => (most.saturating_mul(prompt.choices), None),
            None => {
                let fits = windows.iter().map(|key| known.fits(*key, read, price, prompt.choices)).min();
                let fits = fits.unwrap_or(0);
                // What is held may be little of what there is: it bounds nobody's answer before more was asked for.
                if fits == 0 || (fits < LEAST && !asked && known.may_grow(&windows)) {
                    let least = amount(price, read, LEAST.saturating_mul(prompt.choices));
                    known.miss(&windows, least);
                    return Err(self.short(&known, &windows, wanted.at, amount(price, read, prompt.choices)));
                }
                // An engine makes no more than fits into its context.
                match context.filter(|context| fits >= *context) {
                    Some(context) => (context.saturating_mul(prompt.choices), None),
                    None => (fits.saturating_mul(prompt.choices), Some(fits)),
                }
            }
        };
        let amount = amount(price, read, made);
        if !known.reserve(&windows, amount) {
            return Err(self.short(&known, &windows, wanted.at, amount));
        }
        drop(known);
        Ok(Some((Hold { budgets: self.clone(), windows, amount, price }, set)))
    }

    /// It does not fit: there is no more, or more is asked for.
    fn short(&self, known: &Known, windows: &[WindowKey], at: i64, amount: Amount) -> Short {
        let error = known.refusal(windows, at, amount);
        self.0.empty.notify_one();
        match known.is_hopeless(windows, amount) {
            true => Short::Refused(error),
            false => Short::Asked(error, known.calls + 1),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// The budgets that it is of.
    pub fn budgets(&self) -> impl Iterator<Item = Uuid> {
        self.windows.iter().map(|(budget, _)| *budget)
    }

    /// The request is over, and has used so much.
    pub fn settle(mut self, prompt: u64, cached: u64, made: u64) {
        let tokens = Tokens::of_openai(prompt, cached, made);
        let money = self.price.and_then(|price| price.cost(tokens)).map_or(0, |money| money.0).into();
        let tokens = i64::try_from(prompt.saturating_add(made)).unwrap_or(i64::MAX);
        self.put_back(Amount { money, tokens });
    }

    fn put_back(&mut self, spent: Amount) {
        let mut known = self.budgets.lock();
        for key in std::mem::take(&mut self.windows) {
            if let Some(held) = known.held.get_mut(&key) {
                held.purse.settle(self.amount, spent);
            }
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.windows.is_empty() {
            self.put_back(Amount::ZERO);
        }
    }
}

/// The most that so many tokens come to.
fn amount(price: Option<Price>, read: u64, made: u64) -> Amount {
    let money = price.and_then(|price| price.largest(read, made)).map_or(0, |money| money.0).into();
    Amount { money, tokens: i64::try_from(read.saturating_add(made)).unwrap_or(i64::MAX) }
}

/// How much may be made, where that is said or follows from the route.
fn most(prompt: &Prompt) -> Option<u64> {
    match prompt.endpoint {
        // OpenAI's default, which engines follow there and nowhere else.
        Endpoint::Completions => Some(prompt.max_tokens.unwrap_or(16)),
        endpoint if endpoint.makes() => prompt.max_tokens,
        _ => Some(0),
    }
}

/// Whether what a request costs can be told from a price.
fn is_known(price: Option<Price>, prompt: &Prompt) -> bool {
    let makes = u64::from(prompt.endpoint.makes());
    price.is_some_and(|price| price.largest(1, makes).is_some())
}

/// What is held, by budget and window.
pub(crate) type Holdings = HashMap<WindowKey, Held>;
