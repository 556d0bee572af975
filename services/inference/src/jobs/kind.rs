//! What jobs can do, and in which queue: the one list of both.
//!
//! A further kind is a variant of [`Kind`] with its queue, and an arm in [`super::run`]. What monitoring does in the
//! background (reports, forecasts, messages) has its kinds there, over a claim table of its own.

use crate::config;

/// Where jobs wait. Each has workers of its own, so that one kind of work never keeps another waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Single requests to models.
    AiTasks,
    /// Batches.
    BulkTasks,
    /// Reports and forecasts.
    AnalyticsTasks,
    /// Messages to people and systems.
    NotificationTasks,
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One chat or completion.
    Completion,
    /// One call for vectors.
    Embedding,
    /// A file of requests.
    Batch,
}

impl Queue {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::AiTasks, Self::BulkTasks, Self::AnalyticsTasks, Self::NotificationTasks];

    /// The name in the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AiTasks => "ai_tasks",
            Self::BulkTasks => "bulk_tasks",
            Self::AnalyticsTasks => "analytics_tasks",
            Self::NotificationTasks => "notification_tasks",
        }
    }

    /// The queue of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|queue| queue.name() == name)
    }

    /// How many of its jobs run at once.
    #[must_use]
    pub const fn places(self, settings: &config::Jobs) -> usize {
        match self {
            Self::AiTasks => settings.ai_tasks,
            Self::BulkTasks => settings.bulk_tasks,
            Self::AnalyticsTasks => settings.analytics_tasks,
            Self::NotificationTasks => settings.notification_tasks,
        }
    }
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Completion, Self::Embedding, Self::Batch];

    /// The name in the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completion => "completion",
            Self::Embedding => "embedding",
            Self::Batch => "batch",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Where it waits.
    #[must_use]
    pub const fn queue(self) -> Queue {
        match self {
            Self::Completion | Self::Embedding => Queue::AiTasks,
            Self::Batch => Queue::BulkTasks,
        }
    }
}
