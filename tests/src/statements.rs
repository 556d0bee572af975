//! What a service asks of its database, heard from its own log: `shared::db` says every statement, within the span of
//! the call that it is for.
//!
//! A recorder hears what happens on its thread, which is all of a test on one thread.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};
use tracing::{
    Dispatch, Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

/// Where statements are said.
const TARGET: &str = "shared::db::statement";

/// Hears statements until it is dropped.
#[derive(Debug)]
pub struct Recorder {
    heard: Heard,
    _listening: DefaultGuard,
}

#[derive(Debug, Clone, Default)]
struct Heard(Arc<Mutex<BTreeMap<String, Calls>>>);

/// The calls of a method and the statements run for them.
#[derive(Debug, Default)]
struct Calls {
    number: usize,
    statements: Vec<String>,
}

/// The method of a call, kept with its span.
struct Method(String);

/// While `tracing` knows of one subscriber alone, whether a place in the code is heard is settled for good by the
/// thread that comes there first, which may be another test's. A second subscriber, kept for ever, ends that.
static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));

impl Recorder {
    /// Begins to hear.
    #[must_use]
    pub fn start() -> Self {
        LazyLock::force(&ANOTHER);
        let heard = Heard::default();
        let subscriber = tracing_subscriber::registry().with(heard.clone());
        Self { heard, _listening: tracing::subscriber::set_default(subscriber) }
    }

    /// Whether a method, `/package.Service/Method`, was called.
    #[must_use]
    pub fn heard(&self, method: &str) -> bool {
        self.heard.lock().contains_key(method.trim_start_matches('/'))
    }

    /// The statements run for calls of a method so far, in their order.
    #[must_use]
    pub fn of(&self, method: &str) -> Vec<String> {
        self.heard
            .lock()
            .get(method.trim_start_matches('/'))
            .map(|calls| calls.statements.clone())
            .unwrap_or_default()
    }

    /// How often a method was called.
    #[must_use]
    pub fn calls(&self, method: &str) -> usize {
        self.heard.lock().get(method.trim_start_matches('/')).map_or(0, |calls| calls.number)
    }

    /// Each different statement and the methods that run it; the empty name stands for what no call waits for.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (method, calls) in &*self.heard.lock() {
            for statement in &calls.statements {
                all.entry(statement.clone()).or_default().insert(method.clone());
            }
        }
        all
    }

    /// The one method that was called since the last [`Recorder::clear`].
    #[must_use]
    pub fn only(&self) -> String {
        let heard = self.heard.lock();
        let methods: Vec<_> = heard.keys().filter(|method| !method.is_empty()).collect();
        assert_eq!(methods.len(), 1, "exactly one method was called: {methods:?}");
        methods[0].clone()
    }

    /// Forgets what was heard.
    pub fn clear(&self) {
        self.heard.lock().clear();
    }
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Calls>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Heard {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(method) = Value::of("otel.name", |visit| attributes.record(visit)) else { return };
        self.lock().entry(method.clone()).or_default().number += 1;
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Method(method));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.metadata().target() != TARGET {
            return;
        }
        let Some(statement) = Value::of("statement", |visit| event.record(visit)) else { return };
        let method = context.event_scope(event).and_then(|mut scope| {
            scope.find_map(|span| span.extensions().get::<Method>().map(|method| method.0.clone()))
        });
        self.lock().entry(method.unwrap_or_default()).or_default().statements.push(statement);
    }
}

/// Looks for one field.
struct Value {
    name: &'static str,
    found: Option<String>,
}

impl Value {
    fn of(name: &'static str, record: impl FnOnce(&mut Self)) -> Option<String> {
        let mut value = Self { name, found: None };
        record(&mut value);
        value.found
    }
}

impl Visit for Value {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == self.name {
            self.found = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == self.name {
            self.found = Some(format!("{value:?}"));
        }
    }
}
