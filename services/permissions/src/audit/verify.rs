//! Reads the log in batches and has the chain worked out again.

use super::chain::{Chain, Fault, Problem};
use crate::{
    error::Error,
    store::{
        checkpoints,
        events::{self, Filter, Head, Place},
    },
};
use futures_util::{Stream, stream};
use policy::Revision;
use shared::{db::Db, event::Link};

/// Events read at once.
const BATCH: i64 = 2_000;

/// How far the chain holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) checked: u64,
    pub(crate) unchained: u64,
    pub(crate) last: Place,
    pub(crate) finished: bool,
    pub(crate) fault: Option<Fault>,
}

/// One verification under way.
struct Verification {
    db: Db,
    chain: Chain,
    until: Revision,
    /// The head's link, when the log is verified to its end.
    head: Option<Link>,
    read: Place,
}

/// Verifies the events of some revisions; 0 is the first and the last one. The last item has `finished`.
pub(crate) async fn verify(
    db: Db,
    from: Revision,
    to: Revision,
) -> Result<impl Stream<Item = Result<Progress, Error>> + Send + use<>, Error> {
    let head = events::head(&db).await?;
    let until = if to == Revision(0) { head.revision } else { to };
    if until > head.revision {
        return Err(Error::invalid("to_revision", "has not happened yet"));
    }
    if from > until && from > Revision(0) && head.revision > Revision(0) {
        return Err(Error::invalid("from_revision", "must not be above to_revision"));
    }
    let start = start(&db, from, &head).await?;
    let verification = start.map(|chain| Verification {
        db,
        read: chain.last,
        chain,
        until,
        head: (until == head.revision).then_some(head.link),
    });
    Ok(stream::try_unfold(Some(verification), |verification| async move {
        let Some(verification) = verification else { return Ok(None) };
        let mut verification = match verification {
            Ok(verification) => verification,
            Err(fault) => return Ok(Some((nothing(fault), None))),
        };
        let progress = verification.go_on().await?;
        Ok(Some((progress, (!progress.finished).then_some(Ok(verification)))))
    }))
}

/// The chain before the first event to verify.
async fn start(db: &Db, from: Revision, head: &Head) -> Result<Result<Chain, Fault>, Error> {
    let oldest = events::oldest(db).await?.unwrap_or_else(|| head.revision.next());
    let first = from.max(oldest);
    if first <= Revision(1) {
        return Ok(Ok(Chain::after(Revision(0), None)));
    }
    let before = Revision(first.get() - 1);
    if let Some((_, link)) = events::last_of(db, before).await? {
        return Ok(Ok(Chain::after(before, link)));
    }
    let checkpoint = checkpoints::first_from(db, before).await?;
    // Events at and before a checkpoint may be about to be deleted.
    let checkpoint = checkpoint.filter(|checkpoint| checkpoint.revision == before || first == oldest);
    let missing = Fault { place: Place { revision: before, ordinal: 0 }, problem: Problem::Missing };
    Ok(checkpoint.map(|checkpoint| Chain::after(checkpoint.revision, Some(checkpoint.link))).ok_or(missing))
}

const fn nothing(fault: Fault) -> Progress {
    let last = Place { revision: Revision(0), ordinal: 0 };
    Progress { checked: 0, unchained: 0, last, finished: true, fault: Some(fault) }
}

impl Verification {
    async fn go_on(&mut self) -> Result<Progress, Error> {
        let filter = Filter { to: Some(self.until), ..Filter::default() };
        let rows = events::list(&self.db, &filter, Some(self.read), false, BATCH).await?;
        for stored in &rows {
            if let Err(fault) = self.chain.add(stored) {
                return Ok(self.progress(true, Some(fault)));
            }
            self.read = stored.place();
        }
        if !rows.is_empty() {
            return Ok(self.progress(false, None));
        }
        let ended = self.end().await?;
        Ok(self.progress(true, ended.err()))
    }

    async fn end(&mut self) -> Result<Result<(), Fault>, Error> {
        if self.chain.in_doubt() {
            let next = events::list(&self.db, &Filter::default(), Some(self.read), false, 1).await?;
            if let Some(next) = next.first() {
                return Ok(self.chain.add(next));
            }
        }
        Ok(self.chain.end(self.until, self.head))
    }

    fn progress(&self, finished: bool, fault: Option<Fault>) -> Progress {
        let Chain { checked, unchained, mut last, .. } = self.chain;
        if last.ordinal == u32::MAX {
            last.ordinal = 0;
        }
        Progress { checked, unchained, last, finished, fault }
    }
}
