//! How a request goes through the cache: what its answer is kept under, for how long, and what it depends on.

use super::{
    Cache, Course,
    gone::Mark,
    kept::{Asked, Kept, Origin},
    key::Key,
    pump::Pump,
    texts::Texts,
};
use crate::{admit::Admitted, jobs::person::Submitter, prompt::Repeats};
use std::{sync::Arc, time::Duration};

/// How a request goes through the cache.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What its answer is kept under.
    pub key: Key,
    /// How long its answer is kept.
    pub ttl: Duration,
    /// Whether it streams.
    pub stream: bool,
    /// The texts whose vectors are asked for.
    pub texts: Option<Texts>,
    pub(super) course: Course,
    pub(super) origin: Origin,
    pub(super) mark: Mark,
    pub(super) asked: Option<Asked>,
}

impl Cache {
    /// How a request goes through the cache, when it does.
    #[must_use]
    pub fn plan(&self, admitted: &Admitted) -> Option<Plan> {
        let prompt = &admitted.prompt;
        match prompt.repeats {
            _ if prompt.wish.no_store => return None,
            Repeats::Exactly => {}
            Repeats::Otherwise if prompt.wish.store => {}
            Repeats::Otherwise | Repeats::Never => return None,
        }
        // Before anything is looked for: what is said to go from now on goes.
        let mark = self.0.gone.mark();
        let (model, endpoint) = (prompt.served(), prompt.endpoint.name());
        let settings = self.settings();
        let ttl = settings.ttl_of(endpoint, model);
        if !settings.enabled || ttl.is_zero() {
            return None;
        }
        let revision = settings.revision_of(model);
        let (key, texts) = Key::of(admitted, revision)?;
        let origin = origin(admitted, revision);
        let again =
            settings.warm.enabled && texts.is_none() && prompt.body.len() <= settings.warm.largest_request;
        drop(settings);
        let asked = again.then(|| Asked {
            by: Submitter::from(&admitted.person),
            body: prompt.body.clone(),
            in_time: true,
        });
        let course = (key, prompt.stream, prompt.class, prompt.spare);
        Some(Plan { key, ttl, stream: prompt.stream, texts, course, origin, mark, asked })
    }
}

/// What a request's answer is of.
pub(super) fn origin(admitted: &Admitted, revision: &str) -> Origin {
    let (prompt, wish) = (&admitted.prompt, &admitted.prompt.wish);
    Origin {
        model: prompt.served().into(),
        revision: revision.into(),
        endpoint: prompt.endpoint.name(),
        template: Arc::clone(&wish.template),
        tags: Arc::clone(&wish.tags),
    }
}

impl Plan {
    /// What its answer is of.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// An answer as it is kept under this plan.
    #[must_use]
    pub fn kept(&self, pump: Pump, took: Duration) -> Option<Kept> {
        let kept = pump.kept(self.origin.clone(), self.ttl, took)?;
        Some(Kept { mark: self.mark, asked: self.asked.clone(), ..kept })
    }

    /// The same for nobody who asks now.
    #[must_use]
    pub fn ahead(self) -> Self {
        Self { asked: self.asked.map(|asked| Asked { in_time: false, ..asked }), ..self }
    }
}
