//! What a call holds while it runs: its places, and what is to be counted when it ends.

use super::{Gate, Refused};
use crate::auth::Person;
use http::{HeaderMap, StatusCode};
use limits::{Admission, Call, Stage, Standing, Subjects, Taken};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

tokio::task_local! { static TICKET: Ticket; }

/// A call that was let in. Whoever holds a copy keeps the call from having ended.
#[derive(Debug, Clone)]
pub struct Ticket(Arc<Held>);

#[derive(Debug)]
struct Held {
    gate: Gate,
    call: Option<Call>,
    /// Whether it runs a prompt, whose time and failures are not this machine's.
    prompts: bool,
    /// Its place among the calls that are under way.
    place: Option<Taken>,
    began: Instant,
    said: Mutex<Said>,
    tokens: AtomicU64,
    counted: AtomicBool,
}

/// What was decided of a call so far.
#[derive(Debug, Default)]
struct Said {
    standing: Standing,
    refused: Option<Refused>,
    /// Whatever it is counted by: at the door, as a prompt, for its account.
    admissions: Vec<Admission>,
}

/// What is known of a prompt when it may run.
#[derive(Debug, Clone, Copy)]
pub struct Prompted<'a> {
    /// Who asks.
    pub person: &'a Person,
    /// Through whose grant.
    pub group: Option<u128>,
    /// Which model.
    pub model: u128,
    /// The tokens that it may come to, as far as is known.
    pub tokens: u64,
}

impl Ticket {
    pub(super) fn new(
        gate: Gate,
        call: Option<Call>,
        prompts: bool,
        admission: Admission,
        place: Option<Taken>,
    ) -> Self {
        let standing = admission.standing;
        let admissions = if admission.is_free() { Vec::new() } else { vec![admission] };
        let said = Said { standing, admissions, refused: None };
        Self(Arc::new(Held {
            gate,
            call,
            prompts,
            place,
            began: Instant::now(),
            said: Mutex::new(said),
            tokens: AtomicU64::new(0),
            counted: AtomicBool::new(false),
        }))
    }

    /// The ticket of the call that this task runs, when there is one.
    #[must_use]
    pub fn current() -> Option<Self> {
        TICKET.try_with(Self::clone).ok()
    }

    /// Runs a call with its ticket.
    pub async fn around<F: Future>(self, call: F) -> F::Output {
        TICKET.scope(self, call).await
    }

    /// Says on the answer how its caller stands.
    pub fn dress(&self, headers: &mut HeaderMap, openai: bool) {
        let (standing, refused) = {
            let said = self.said();
            (said.standing, said.refused.clone())
        };
        super::dress(headers, &standing, refused.as_ref(), openai);
    }

    /// The call was answered so: by how many fail and how long they take it is known how busy this is.
    pub fn answered(&self, status: StatusCode, headers: &HeaderMap) {
        if self.0.prompts {
            return;
        }
        let code = headers.get("grpc-status").and_then(|code| code.to_str().ok());
        let failed = status.is_server_error() || matches!(code, Some("2" | "13" | "14" | "15"));
        self.0.gate.0.answers.note(self.0.began.elapsed(), failed);
    }

    /// Asks for what only a prompt tells: its group, its model, its tokens. Calls that services pass on for a person are
    /// held against nothing else, as they were at the door elsewhere.
    ///
    /// # Errors
    /// When a limit is used up.
    pub fn prompt(&self, prompt: Prompted<'_>) -> Result<(), Refused> {
        let call = match self.0.call {
            Some(call) => call,
            None => match self.passed_on(prompt.person) {
                Some(call) => call,
                None => return Ok(()),
            },
        };
        let subjects = Subjects { group: prompt.group, model: Some(prompt.model), ..call.subjects };
        self.ask(&Call { subjects, stage: Stage::Prompt, tokens: prompt.tokens, ..call })
    }

    fn passed_on(&self, person: &Person) -> Option<Call> {
        let limiter = self.0.gate.lock();
        let settings = limiter.settings();
        if !settings.enabled || super::is_unlimited(person, settings) {
            return None;
        }
        let subjects = Subjects {
            key: person.key.map(|key| key.0.as_u128()),
            user: Some(person.user.0.as_u128()),
            ..Subjects::default()
        };
        let (tier, action) = (super::tier(person, settings), limiter.prompts()?);
        Some(Call { action, tier, subjects, stage: Stage::Prompt, tokens: 0 })
    }

    /// Asks for one more action, of somebody who is known by what they do.
    ///
    /// # Errors
    /// When a limit is used up.
    pub fn also(&self, action: &str, user: u128) -> Result<(), Refused> {
        let known = {
            let limiter = self.0.gate.lock();
            limiter.action(action).filter(|_| limiter.settings().enabled)
        };
        let Some(action) = known else { return Ok(()) };
        let address = self.0.call.and_then(|call| call.subjects.address);
        let subjects = Subjects { user: Some(user), address, ..Subjects::default() };
        let tier = limits::Tier::Free;
        self.ask(&Call { action, tier, subjects, stage: Stage::Door, tokens: 0 })
    }

    fn ask(&self, call: &Call) -> Result<(), Refused> {
        let gate = &self.0.gate;
        let entered = gate.lock().enter(call, gate.now());
        gate.tell_if_shared();
        let mut said = self.said();
        match entered {
            Ok(admission) => {
                said.standing = said.standing.and(admission.standing);
                if !admission.is_free() {
                    said.admissions.push(admission);
                }
                Ok(())
            }
            Err(refusal) => {
                let refused = gate.refused(Refused(Box::new(refusal), None));
                said.standing = said.standing.and(refused.standing());
                said.refused = Some(refused.clone());
                Err(refused)
            }
        }
    }

    /// What was asked last is not to count after all: it went well.
    pub fn take_back(&self) {
        let gate = &self.0.gate;
        let said = self.said();
        if let Some(last) = said.admissions.last() {
            gate.lock().take_back(last, gate.now());
        }
        drop(said);
        gate.tell_if_shared();
    }

    /// So many tokens were used for it.
    pub fn used(&self, tokens: u64) {
        self.0.tokens.fetch_add(tokens, Ordering::Relaxed);
        self.0.counted.store(true, Ordering::Relaxed);
    }

    fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.0.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let said = self.said.get_mut().unwrap_or_else(PoisonError::into_inner);
        if said.admissions.is_empty() && self.place.is_none() {
            return;
        }
        let tokens = self.counted.load(Ordering::Relaxed).then(|| self.tokens.load(Ordering::Relaxed));
        let now = self.gate.now();
        let mut limiter = self.gate.lock();
        for admission in &said.admissions {
            limiter.end(admission, tokens, now);
        }
        if let Some(place) = &self.place {
            limiter.over(place);
        }
        drop(limiter);
        self.gate.tell_if_shared();
    }
}
