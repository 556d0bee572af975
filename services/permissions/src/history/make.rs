//! Making states: each once for all who ask for it at the same time, few at a time, and on to its end when whoever
//! asked has gone, so that who asks again finds it done.

use super::{History, State, beside, shelf::Shelf};
use crate::{
    error::Error,
    store::{
        StoreError, checkpoints,
        events::{self, Head},
    },
    token::Token,
};
use policy::Revision;
use shared::server::Tasks;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};

/// States made at once.
const MAKERS: usize = 2;
/// States made or waited for; who asks for one more is asked to come again.
const ORDERS: usize = 16;
/// How often it is looked which states nobody asks for any more.
const ROUND: Duration = Duration::from_secs(15);

/// Makes states and keeps some.
#[derive(Debug, Clone)]
pub(super) struct Makers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tasks: Tasks,
    permits: Semaphore,
    store: Mutex<Store>,
}

#[derive(Debug, Default)]
struct Store {
    shelf: Shelf,
    orders: HashMap<Token, watch::Sender<Made>>,
}

/// What became of an order, once something did.
type Made = Option<Result<Arc<State>, Fault>>;

/// Why a state could not be made, as everybody who waits for it is told.
#[derive(Debug, Clone)]
enum Fault {
    NotKept { earliest: Revision, latest: Revision },
    Store(Arc<StoreError>),
    Replaced,
    Stopping,
}

/// An order under way: however it ends, it is none any more then.
struct Order {
    makers: Makers,
    /// None once somebody else may order the same.
    place: Option<Token>,
    made: watch::Sender<Made>,
}

impl Order {
    /// Whether anybody still waits, now that its turn has come. If not, nobody joins it any more either.
    fn is_wanted(&mut self) -> bool {
        let mut store = self.makers.lock();
        let wanted = self.made.receiver_count() > 0;
        if let Some(place) = self.place.take_if(|_| !wanted) {
            store.orders.remove(&place);
        }
        wanted
    }
}

impl Drop for Order {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.makers.lock().orders.remove(&place);
        }
    }
}

impl Makers {
    pub(super) fn start(tasks: &Tasks) -> Self {
        let permits = Semaphore::new(MAKERS);
        let makers = Self(Arc::new(Inner { tasks: tasks.clone(), permits, store: Mutex::default() }));
        let shelf = Arc::downgrade(&makers.0);
        tasks.repeat(ROUND, move || {
            let unused = shelf.upgrade().map(|inner| Self(inner).lock().shelf.clear(Instant::now()));
            // Giving back the memory of a large state takes a while.
            async move { drop(beside(move || drop(unused)).await) }
        });
        makers
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.0.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, place: Token, state: &Arc<State>) {
        let gone = self.lock().shelf.put(place, Arc::clone(state), Instant::now());
        // Not under the lock: the last one to hold a large state takes a while to let it go.
        drop(gone);
    }
}

impl History {
    /// The state at a revision of the present log.
    ///
    /// # Errors
    /// [`Error::NotKept`] for what is not kept any more or has not happened yet.
    pub(crate) async fn at(&self, place: Token) -> Result<Arc<State>, Error> {
        let mut made = {
            let mut store = self.makers.lock();
            if let Some(state) = store.shelf.take(place, Instant::now()) {
                return Ok(state);
            }
            match store.orders.get(&place) {
                Some(order) => order.subscribe(),
                None if store.orders.len() >= ORDERS => return Err(Error::PastBusy),
                None => {
                    let (sender, made) = watch::channel(None);
                    store.orders.insert(place, sender.clone());
                    drop(store);
                    self.order(place, sender);
                    made
                }
            }
        };
        let made = made.wait_for(Option::is_some).await.map_err(|_| Error::Stopping)?.clone();
        made.unwrap_or(Err(Fault::Stopping)).map_err(Error::from)
    }

    fn order(&self, place: Token, made: watch::Sender<Made>) {
        let (history, stop) = (self.clone(), self.makers.0.tasks.stopping());
        let mut order = Order { makers: self.makers.clone(), place: Some(place), made };
        self.makers.0.tasks.spawn(async move {
            let work = async {
                let _permit = history.makers.0.permits.acquire().await;
                if order.is_wanted() { Some(history.make(place).await) } else { None }
            };
            let made = tokio::select! {
                () = stop.cancelled() => Some(Err(Error::Stopping)),
                made = work => made,
            };
            let made = made.map(|made| made.map(Arc::new).map_err(Fault::from));
            if let Some(Ok(state)) = &made {
                history.makers.put(place, state);
            }
            // On the shelf first and no order second: who comes in between finds one or the other.
            let sender = order.made.clone();
            drop(order);
            sender.send_replace(made);
        });
    }

    async fn make(&self, place: Token) -> Result<State, Error> {
        if self.tail.place() == Some(place)
            && let Ok(copy) = self.tail.copy().await
            && (copy.epoch, copy.revision) == (place.epoch, place.revision)
        {
            let at = self.made_at(place.revision).await?;
            return Ok(State { revision: place.revision, at, policy: copy.policy });
        }
        let head = self.head_of(place).await?;
        if place.revision > head.revision || place.revision < self.earliest().await? {
            return Err(self.not_kept(&head).await?);
        }
        let nearest = checkpoints::nearest(&self.db, place.revision).await?;
        let least = nearest.map_or(Revision(0), |checkpoint| checkpoint.revision);
        let near = self.makers.lock().shelf.near(place, least);
        let start = match near {
            Some(near) => beside(move || State::clone(&near)).await?,
            None => State::load(&self.db, nearest.as_ref()).await?,
        };
        let state = self.fold(start, place.revision).await?;
        // What was read of two stores is the state of none.
        self.head_of(place).await?;
        Ok(state)
    }

    async fn head_of(&self, place: Token) -> Result<Head, Error> {
        let head = events::head(&self.db).await?;
        if head.epoch == place.epoch { Ok(head) } else { Err(Error::StoreReplaced) }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::NotKept { earliest, latest } => Self::NotKept { earliest, latest },
            Error::Store(error) | Error::Corrupt(error) => Self::Store(Arc::new(error)),
            Error::StoreReplaced => Self::Replaced,
            _ => Self::Stopping,
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NotKept { earliest, latest } => Self::NotKept { earliest, latest },
            Fault::Store(error) => StoreError::Shared(error).into(),
            Fault::Replaced => Self::StoreReplaced,
            Fault::Stopping => Self::Stopping,
        }
    }
}

#[cfg(test)]
mod tests;
