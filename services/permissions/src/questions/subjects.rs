//! Who may use or manage a model: the users, or whom ownership and grants name, groups and all.

use crate::{error::Error, field, freshness::View, list::Page};
use policy::{Action, Branch, Effect, GroupId, Leaf, ModelId, UserId};
use std::collections::BTreeMap;

/// Branches that are looked at for whom ownership and grants name.
const BRANCHES: usize = 20_000;

/// One who may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    User(UserId),
    Group(GroupId),
    Everyone,
}

impl Subject {
    /// What rows are ordered by, and pages go on after.
    pub(crate) fn key(self) -> String {
        match self {
            Self::Everyone => "everyone".to_owned(),
            Self::Group(id) => format!("group-{id}"),
            Self::User(id) => format!("user-{id}"),
        }
    }
}

/// One page of them and one more, after the row with this key.
pub(crate) fn subjects(
    view: &View<'_>,
    model: ModelId,
    action: Action,
    groups: bool,
    after: &str,
    page: &Page,
) -> Result<Vec<Subject>, Error> {
    super::must_know(view.policy(), model)?;
    if groups {
        return named(view, model, action, after, page);
    }
    let after = field::optional_id("page_token", after.strip_prefix("user-").unwrap_or_default())?;
    let found = view.policy().subjects_of_page(model, action, view.now, after, page.size() + 1);
    Ok(found.items.into_iter().map(Subject::User).collect())
}

/// The tree has whom ownership and grants name before any members of groups.
fn named(
    view: &View<'_>,
    model: ModelId,
    action: Action,
    after: &str,
    page: &Page,
) -> Result<Vec<Subject>, Error> {
    let tree = view.policy().expand(model, action, view.now, BRANCHES);
    if tree.more {
        return Err(Error::invalid("groups", "the model has too many grants for this; list its grants"));
    }
    let opens = |branch: &Branch| {
        let allows = match &branch.leaf {
            Leaf::Owner => true,
            Leaf::Grant { effect, .. } => *effect == Effect::Allow,
            Leaf::Everyone | Leaf::User(_) | Leaf::Group(_) => false,
        };
        allows && branch.counts
    };
    let roots: Vec<bool> = tree.branches.iter().map(opens).collect();
    let named = tree.branches.iter().filter(|branch| {
        let parent = branch.parent.and_then(|parent| roots.get(parent));
        branch.counts && parent == Some(&true)
    });
    let subjects = named.filter_map(|branch| match branch.leaf {
        Leaf::User(id) => Some(Subject::User(id)),
        Leaf::Group(id) => Some(Subject::Group(id)),
        Leaf::Everyone => Some(Subject::Everyone),
        Leaf::Owner | Leaf::Grant { .. } => None,
    });
    let ordered: BTreeMap<String, Subject> = subjects.map(|subject| (subject.key(), subject)).collect();
    let rest = ordered.into_iter().filter(|(key, _)| key.as_str() > after).map(|(_, subject)| subject);
    Ok(rest.take(page.size() + 1).collect())
}
