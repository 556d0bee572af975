//! In what words an answer is told: as chunks, as a response, or as a message.

use bytes::Bytes;

use super::generate::Written;
use crate::engine::Engine;
use crate::prompt::Message;
use crate::responses::Kept;
use crate::sse::{Responding, Reused, Speaking, Usage};
use crate::text::Finish;

/// How a job is told.
#[derive(Debug, Default)]
pub(super) enum Voice {
    /// As chats and completions are.
    #[default]
    Chunks,
    Response(Box<Responder>),
    Message(Speaking),
}

/// A response, and where it is to be kept with what was said before it.
#[derive(Debug)]
pub(super) struct Responder {
    pub(super) response: Responding,
    pub(super) keeping: Option<(Engine, Vec<Message>)>,
}

impl Responder {
    /// All of it, which is kept if it is to be.
    pub(super) fn whole(&mut self, finish: &Finish, usage: Usage, cached: u32) -> String {
        let json = self.response.whole(finish, usage, cached);
        if let Some((engine, mut messages)) = self.keeping.take() {
            messages.push(Message { role: "assistant".to_owned(), content: self.response.text.clone() });
            engine.responses().keep(self.response.id(), Kept { json: json.clone(), messages });
        }
        json
    }
}

impl Voice {
    /// What leaves before anything is queued.
    pub(super) fn begin(&mut self) -> Vec<Bytes> {
        match self {
            Self::Response(responder) => responder.response.begin().into(),
            Self::Chunks | Self::Message(_) => Vec::new(),
        }
    }

    /// What leaves with the first token; `None` where chunks are told.
    pub(super) fn open(&mut self, prompt: u32) -> Option<Vec<Bytes>> {
        match self {
            Self::Chunks => None,
            Self::Response(responder) => Some(responder.response.open().into()),
            Self::Message(speaking) => Some(speaking.open(prompt).into()),
        }
    }

    /// One more token's text; `None` where chunks are told.
    pub(super) fn more(&mut self, text: &str) -> Option<Vec<Bytes>> {
        let some = !text.is_empty();
        match self {
            Self::Chunks => None,
            Self::Response(responder) => {
                Some(some.then(|| responder.response.more(text)).into_iter().collect())
            }
            Self::Message(speaking) => Some(some.then(|| speaking.more(text)).into_iter().collect()),
        }
    }

    /// What leaves behind the last token; `None` where chunks are told.
    pub(super) fn close(
        &mut self,
        finish: &Finish,
        usage: Usage,
        (cached, reused): (u32, Option<Reused>),
    ) -> Option<Vec<Bytes>> {
        match self {
            Self::Chunks => None,
            Self::Response(responder) => {
                let whole = responder.whole(finish, usage, cached);
                Some(responder.response.close(&whole).into())
            }
            Self::Message(speaking) => Some(speaking.close(finish, usage, reused).into()),
        }
    }
}

impl super::generate::Job {
    /// What these answers took.
    pub(super) fn usage_of(&self, written: &[Written]) -> Usage {
        let completion = written.iter().map(|written| written.telling.told).sum();
        Usage { prompt: self.prompt_tokens, completion }
    }
}
