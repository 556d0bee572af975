//! Decides calls: all of its limits let a call in, or it is counted by none of them. `look` shows people what was used.

mod look;

pub use look::{Row, Seen};

use crate::{
    action::{INFERENCE, Measure},
    at_once::{Full, Taken, UnderWay},
    counter::{Counter, Counters},
    decision::{Admission, Counted, Gauge, Refusal, Standing},
    route::{self, Routes},
    rule::{self, ActionId, Kind, Rule, Rules},
    scale::{Level, Scale, Tier},
    settings::Settings,
    subject::{Layer, Subjects},
    window::SLOTS,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Counters at once; a few hundred bytes each.
const COUNTERS: usize = 100_000;
/// When to ask again for what becomes free when others end.
const SOON: Duration = Duration::from_secs(1);

/// The time: of windows, since any one moment that the caller keeps to, and of the hours of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Since whatever moment.
    pub at: Duration,
    /// Seconds since 1970, UTC.
    pub second: i64,
}

/// Which limits of an action are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Those that need nothing but the head of a call.
    Door,
    /// Those of groups, models and tokens.
    Prompt,
}

/// A call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// What it does.
    pub action: ActionId,
    /// What its caller is.
    pub tier: Tier,
    /// Whom it is of.
    pub subjects: Subjects,
    /// What is asked.
    pub stage: Stage,
    /// The tokens that it may come to, as far as is known.
    pub tokens: u64,
}

/// The counters and the tables by which they are held against calls.
#[derive(Debug)]
pub struct Limiter {
    pub(crate) settings: Settings,
    pub(crate) rules: Vec<Rules>,
    routes: Routes<ActionId>,
    under_way: UnderWay,
    /// The action of prompts.
    prompts: Option<ActionId>,
    pub(crate) kinds: BTreeMap<Kind, u32>,
    pub(crate) scale: Scale,
    pub(crate) counters: Counters,
    /// Whether replicas share.
    pub(crate) sharing: bool,
    /// Whether a lease is all that is given before others have heard of it.
    pub(crate) leasing: bool,
    asked: Vec<Asked>,
}

/// One limit that a call is held against.
#[derive(Debug, Clone, Copy)]
struct Asked {
    counter: u32,
    layer: Layer,
    measure: Measure,
    most: u64,
    cost: u64,
}

impl Limiter {
    /// Counters that count nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let mut kinds = BTreeMap::new();
        let rules = rule::compile(&settings, &mut kinds);
        let mut limiter = Self {
            scale: Scale::new(&settings),
            routes: Routes::default(),
            under_way: UnderWay::new(&settings.at_once),
            prompts: None,
            counters: Counters::new(COUNTERS),
            sharing: false,
            leasing: false,
            asked: Vec::new(),
            settings,
            rules,
            kinds,
        };
        limiter.find_routes();
        limiter
    }

    /// Takes over other settings. What was counted goes on to count.
    pub fn set(&mut self, settings: Settings) {
        let level = self.scale.level();
        self.rules = rule::compile(&settings, &mut self.kinds);
        self.scale = Scale::new(&settings);
        self.scale.load(level);
        self.under_way.set(&settings.at_once);
        self.settings = settings;
        self.find_routes();
    }

    fn find_routes(&mut self) {
        self.routes = Routes::new(&self.settings.all_routes(), |name: &String| self.action(name));
        self.prompts = self.action(INFERENCE);
    }

    /// The action of prompts.
    #[must_use]
    pub const fn prompts(&self) -> Option<ActionId> {
        self.prompts
    }

    /// What it goes by.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The action of this name.
    #[must_use]
    pub fn action(&self, name: &str) -> Option<ActionId> {
        let at = self.rules.iter().position(|rules| &*rules.name == name)?;
        u16::try_from(at).ok().map(ActionId)
    }

    /// The action of a method or route as it is written: `/path`, or `GET /path`; without a verb it is a POST, as calls of
    /// gRPC are.
    #[must_use]
    pub fn action_of(&self, route: &str) -> Option<ActionId> {
        let (verb, path) = route::split(route);
        self.action_of_call(verb.unwrap_or("POST"), path)
    }

    /// The action of a call.
    #[must_use]
    pub fn action_of_call(&self, verb: &str, path: &str) -> Option<ActionId> {
        self.routes.find(verb, path)
    }

    /// Takes a place among the calls that are under way, where this one needs one.
    ///
    /// # Errors
    /// When there is none.
    pub fn begin(&mut self, verb: &str, path: &str) -> Result<Option<Taken>, Full> {
        self.under_way.enter(verb, path)
    }

    /// A call is under way no more.
    pub fn over(&mut self, taken: &Taken) {
        self.under_way.leave(taken);
    }

    /// How many calls that need a place are under way.
    #[must_use]
    pub const fn under_way(&self) -> u32 {
        self.under_way.all()
    }

    /// The name of an action.
    #[must_use]
    pub fn name_of(&self, action: ActionId) -> Option<Arc<str>> {
        self.rules.get(usize::from(action.0)).map(|rules| Arc::clone(&rules.name))
    }

    /// How busy it is from now on.
    pub fn load(&mut self, level: Level) {
        self.scale.load(level);
    }

    /// What hour and load make of limits now.
    pub fn factors(&mut self, now: Moment) -> (f64, Level) {
        self.scale.at(now.second);
        (self.scale.hour(), self.scale.level())
    }

    /// Lets a call in and counts it, or does neither.
    ///
    /// # Errors
    /// When a limit is used up: the one that is for longest.
    pub fn enter(&mut self, call: &Call, now: Moment) -> Result<Admission, Refusal> {
        self.hold_against(call, now);
        self.judge(call, now)?;
        let mut admission =
            Admission { counted: Vec::with_capacity(self.asked.len()), ..Admission::default() };
        let all = std::mem::take(&mut self.asked);
        for asked in &all {
            let Some(place) = self.counters.place(asked.counter) else { continue };
            let Some(counter) = self.counters.get(asked.counter) else { continue };
            match asked.measure {
                Measure::Requests => counter.count(asked.cost),
                Measure::Tokens | Measure::Concurrent => counter.hold(asked.cost),
            }
            admission.counted.push(Counted { place, measure: asked.measure, many: asked.cost });
            admission.standing.note(asked.measure, gauge(counter, asked, now));
            self.tell(asked.counter);
        }
        self.asked = all;
        Ok(admission)
    }

    /// What a call would be answered, were it made.
    ///
    /// # Errors
    /// As for [`Limiter::enter`].
    pub fn simulate(&mut self, call: &Call, now: Moment) -> Result<Standing, Refusal> {
        self.hold_against(call, now);
        self.judge(call, now)?;
        Ok(self.standing(now))
    }

    /// A call has ended, with so many tokens when that is known.
    pub fn end(&mut self, admission: &Admission, tokens: Option<u64>, now: Moment) {
        for counted in &admission.counted {
            let Some(counter) = self.counters.at(counted.place) else { continue };
            let used = match counted.measure {
                Measure::Requests => continue,
                Measure::Concurrent => 0,
                Measure::Tokens => tokens.unwrap_or(0),
            };
            counter.advance(now.at);
            counter.let_go(counted.many);
            counter.count(used);
            self.tell(counted.place.number());
        }
    }

    /// A call is not to count after all.
    pub fn take_back(&mut self, admission: &Admission, now: Moment) {
        for counted in admission.counted.iter().filter(|counted| counted.measure == Measure::Requests) {
            let Some(counter) = self.counters.at(counted.place) else { continue };
            counter.advance(now.at);
            counter.take_back(counted.many);
            self.tell(counted.place.number());
        }
    }

    fn tell(&mut self, counter: u32) {
        if self.sharing {
            self.counters.has_news(counter);
        }
    }

    /// Finds the counters that a call is held against.
    fn hold_against(&mut self, call: &Call, now: Moment) {
        self.asked.clear();
        self.scale.at(now.second);
        let Some(rules) = self.rules.get(usize::from(call.action.0)) else { return };
        for rule in rules.limits.iter().filter(|rule| rule.is_of_prompts() == (call.stage == Stage::Prompt)) {
            let Some(id) = call.subjects.of(rule.layer) else { continue };
            if !rule.only.is_empty() && !rule.only.contains(&id) {
                continue;
            }
            let most = most(&self.scale, rules, rule, call.tier);
            let cost = match rule.measure {
                Measure::Tokens => call.tokens.min(most).max(1),
                Measure::Requests | Measure::Concurrent => 1,
            };
            let counter = self.counters.find_or_make((rule.kind, id), rule.window, now.at);
            if let Some(counter) = self.counters.get(counter) {
                counter.advance(now.at);
            }
            self.asked.push(Asked { counter, layer: rule.layer, measure: rule.measure, most, cost });
        }
    }

    /// Whether all of them let it in.
    fn judge(&mut self, call: &Call, now: Moment) -> Result<(), Refusal> {
        let mut worst: Option<(Asked, Duration)> = None;
        for asked in &self.asked {
            let Some(counter) = self.counters.get(asked.counter) else { continue };
            let wait = if counter.used() + asked.cost > asked.most {
                let left = asked.most.saturating_sub(asked.cost);
                if asked.cost > asked.most { SOON } else { counter.until(left, now.at).unwrap_or(SOON) }
            } else if self.leasing && beyond(counter.unsettled, asked, &self.settings) {
                SOON
            } else {
                continue;
            };
            if worst.is_none_or(|(_, longest)| wait > longest) {
                worst = Some((*asked, wait));
            }
        }
        let Some((asked, retry_after)) = worst else { return Ok(()) };
        let standing = self.standing(now);
        let Some(counter) = self.counters.get(asked.counter) else { return Ok(()) };
        let gauge = gauge(counter, &asked, now);
        if counter.is_worth_asking(now.at) {
            self.tell(asked.counter);
        }
        let action = self.rules.get(usize::from(call.action.0)).map(|rules| Arc::clone(&rules.name));
        let action = action.unwrap_or_default();
        Err(Refusal { action, measure: asked.measure, gauge, retry_after, standing })
    }

    fn standing(&mut self, now: Moment) -> Standing {
        let mut standing = Standing::default();
        for asked in &self.asked {
            if let Some(counter) = self.counters.get(asked.counter) {
                standing.note(asked.measure, gauge(counter, asked, now));
            }
        }
        standing
    }
}

fn most(scale: &Scale, rules: &Rules, rule: &Rule, tier: Tier) -> u64 {
    let most = if rules.scaled { scale.of(rule.most, tier, rules.importance) } else { rule.most };
    most.saturating_add(rule.burst)
}

/// Whether a replica would give more than its lease before the others have heard of it.
fn beyond(unsettled: u64, asked: &Asked, settings: &Settings) -> bool {
    let lease = (asked.most as f64 * settings.sharing.lease).ceil() as u64;
    unsettled > 0 && unsettled + asked.cost > lease.max(settings.sharing.least)
}

fn gauge(counter: &Counter, asked: &Asked, now: Moment) -> Gauge {
    let under_way = match (counter.own().1, asked.measure) {
        (0, _) => Duration::ZERO,
        // What is held back is counted once its call ends, and leaves the window no sooner than this.
        (_, Measure::Tokens) => counter.own().0.slot() * SLOTS as u32,
        _ => SOON,
    };
    Gauge {
        layer: asked.layer,
        limit: asked.most,
        remaining: asked.most.saturating_sub(counter.used()),
        reset: counter.until_empty(now.at).max(under_way),
    }
}
