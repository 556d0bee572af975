//! Memberships that an identity makes, held against what its provider says now. Pure: what to do, not how.

use super::Standing;
use policy::GroupId;
use std::collections::BTreeSet;
use uuid::Uuid;

/// What has to be done to one user's memberships.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Steps {
    /// To put in, and to note as made by the identity.
    pub(super) join: BTreeSet<GroupId>,
    /// To note alone: the membership is there because of another identity.
    pub(super) note: BTreeSet<GroupId>,
    /// To take out.
    pub(super) leave: BTreeSet<GroupId>,
    /// To note no more: another identity still wants the membership.
    pub(super) forget: BTreeSet<GroupId>,
}

impl Standing {
    /// The groups that this identity made its user a member of.
    pub(super) fn made_by(&self, identity: Uuid) -> BTreeSet<GroupId> {
        self.made.iter().filter(|(by, _)| *by == identity).map(|(_, group)| *group).collect()
    }

    /// What makes the memberships of `identity` those in `wanted`.
    pub(super) fn steps(&self, identity: Uuid, wanted: &BTreeSet<GroupId>) -> Steps {
        let own = self.made_by(identity);
        let others: BTreeSet<_> =
            self.made.iter().filter(|(by, _)| *by != identity).map(|(_, group)| *group).collect();
        let mut steps = Steps::default();
        for &group in wanted {
            if !self.groups.contains(&group) {
                steps.join.insert(group);
            } else if others.contains(&group) && !own.contains(&group) {
                steps.note.insert(group);
            }
        }
        for &group in own.difference(wanted) {
            let kept = others.contains(&group);
            (if kept { &mut steps.forget } else { &mut steps.leave }).insert(group);
        }
        steps
    }
}

impl Steps {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    fn groups(numbers: &[u128]) -> BTreeSet<GroupId> {
        numbers.iter().map(|&number| GroupId(Uuid::from_u128(number))).collect()
    }

    fn standing(present: &[u128], made: &[(Uuid, u128)]) -> Standing {
        let made = made.iter().map(|&(by, number)| (by, GroupId(Uuid::from_u128(number)))).collect();
        Standing { groups: groups(present), made }
    }

    #[test]
    fn what_is_new_is_joined_and_what_is_withdrawn_is_left() {
        let steps = standing(&[1, 2], &[(ME, 1), (ME, 2)]).steps(ME, &groups(&[2, 3]));
        assert_eq!(steps, Steps { join: groups(&[3]), leave: groups(&[1]), ..Steps::default() });
        assert!(standing(&[1], &[(ME, 1)]).steps(ME, &groups(&[1])).is_empty());
    }

    #[test]
    fn what_was_made_by_hand_stays() {
        assert!(standing(&[1, 2], &[]).steps(ME, &groups(&[1])).is_empty());
    }

    #[test]
    fn what_has_ended_is_joined_again() {
        let steps = standing(&[], &[(ME, 1)]).steps(ME, &groups(&[1]));
        assert_eq!(steps, Steps { join: groups(&[1]), ..Steps::default() });
    }

    #[test]
    fn what_two_identities_want_stays_until_neither_does() {
        let first = standing(&[1], &[(OTHER, 1)]).steps(ME, &groups(&[1]));
        assert_eq!(first, Steps { note: groups(&[1]), ..Steps::default() });
        let both = standing(&[1], &[(OTHER, 1), (ME, 1)]);
        assert_eq!(both.steps(ME, &groups(&[])), Steps { forget: groups(&[1]), ..Steps::default() });
        assert_eq!(standing(&[1], &[(ME, 1)]).steps(ME, &groups(&[])).leave, groups(&[1]));
    }
}
