//! Whose share of the engines a request takes, and how large that is.

use crate::config;
use policy::{GroupId, KeyId};
use schedule::Share;
use shared::auth::Person;
use std::sync::{Arc, PoisonError, RwLock};

/// The weights of groups, users and keys, as configured.
#[derive(Debug, Clone, Default)]
pub struct Weights(Arc<RwLock<config::Weights>>);

impl Weights {
    /// As configured.
    #[must_use]
    pub fn new(configured: &config::Weights) -> Self {
        Self(Arc::new(RwLock::new(configured.clone())))
    }

    /// As configured from now on.
    pub fn configure(&self, configured: &config::Weights) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clone_from(configured);
    }

    /// From the outermost to the innermost: the group through which a person may, the person, the key.
    #[must_use]
    pub fn path(&self, person: &Person, group: Option<GroupId>) -> Vec<Share> {
        let weights = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let steps = [
            (group.map(GroupId::uuid), &weights.groups),
            (Some(person.user.uuid()), &weights.users),
            (person.key.map(KeyId::uuid), &weights.keys),
        ];
        let known = steps.into_iter().filter_map(|(id, weights)| Some((id?, weights)));
        let share = known
            .map(|(id, weights)| Share { id: id.as_u128(), weight: weights.get(&id).copied().unwrap_or(1) });
        share.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{Class, Permit, Queue, Waiting, Who};
    use policy::{Role, UserId};
    use schedule::{Made, Request, Settings};
    use std::{pin::Pin, time::Duration};
    use uuid::Uuid;

    const GROUP: GroupId = GroupId(Uuid::from_u128(7));
    const HOUR: Duration = Duration::from_secs(3_600);

    fn person(user: u128, key: u128) -> Person {
        let (user, key) = (UserId(Uuid::from_u128(user)), Some(KeyId(Uuid::from_u128(key))));
        Person { user, key, session: None, role: Role::Member, scopes: policy::Scopes::ALL }
    }

    /// Two persons who always have requests waiting, served one at a time.
    struct Rivals<'a> {
        queue: &'a Queue,
        weights: Weights,
        served: [u32; 2],
    }

    type Turn<'a> = (usize, Pin<Box<dyn Future<Output = Result<Permit, crate::Error>> + 'a>>);

    impl<'a> Rivals<'a> {
        fn ask(&self, person: &Person) -> Waiting<'a> {
            let path = self.weights.path(person, Some(GROUP)).leak();
            let request = Request {
                model: "m",
                path,
                class: Class::Batch,
                spare: false,
                prompt: 4_000,
                most: Some(1),
                prefix: [].into(),
                asks: 0,
                arrived: Duration::ZERO,
                deadline: None,
                patience: HOUR,
                avoid: None,
                only: None,
                streams: true,
                preempted: 0,
                made: Made::default(),
            };
            let who = Who {
                usage_id: Uuid::new_v4(),
                request_id: "".into(),
                user: person.user,
                group: Some(GROUP),
                key: person.key,
            };
            self.queue.enter(&request, who).unwrap()
        }

        async fn serve(&mut self, persons: [Person; 2], turns: u32) {
            self.served = [0; 2];
            let mut waiting: Vec<Turn<'a>> = Vec::new();
            for number in 0..40 {
                let at = (number % 2) as usize;
                waiting.push((at, Box::pin(self.ask(&persons[at]).turn())));
            }
            for _ in 0..turns {
                // Polls are counted, and so many of them look like somebody who never yields.
                tokio::task::yield_now().await;
                let mut next = None;
                for (place, (_, turn)) in waiting.iter_mut().enumerate() {
                    if let std::task::Poll::Ready(came) = futures_util::poll!(turn) {
                        next = Some((place, came.unwrap()));
                        break;
                    }
                }
                let (place, mut permit) = next.expect("somebody has the place");
                let (at, _) = waiting.remove(place);
                self.served[at] += 1;
                waiting.push((at, Box::pin(self.ask(&persons[at]).turn())));
                permit.first_token();
                permit.made(1);
                permit.done();
            }
        }
    }

    #[tokio::test]
    async fn a_weight_of_three_gets_three_times_the_tokens_until_it_is_changed() {
        let queue = Queue::new(Settings { refusing: false, ..Settings::fair() });
        queue.engine(0, &["m".to_owned()], true, 1);
        let heavy =
            |weight| config::Weights { users: [(Uuid::from_u128(1), weight)].into(), ..Default::default() };
        let weights = Weights::new(&heavy(3));
        let mut rivals = Rivals { queue: &queue, weights: weights.clone(), served: [0; 2] };
        let persons = [person(1, 11), person(2, 12)];
        rivals.serve(persons, 400).await;
        let [one, other] = rivals.served.map(f64::from);
        // The band of 32,000 tokens is eight of these prompts.
        assert!((one / other - 3.0).abs() < 0.4, "{one} and {other}");
        weights.configure(&heavy(1));
        rivals.serve(persons, 400).await;
        let [one, other] = rivals.served.map(f64::from);
        assert!((one / other - 1.0).abs() < 0.15, "{one} and {other}");
    }

    #[test]
    fn each_step_has_the_weight_of_its_kind() {
        let ids = |id: u128, weight| [(Uuid::from_u128(id), weight)].into();
        let configured = config::Weights { groups: ids(7, 2), users: ids(1, 3), keys: ids(11, 4) };
        let weights = Weights::new(&configured);
        let of =
            |path: Vec<Share>| path.into_iter().map(|share| (share.id, share.weight)).collect::<Vec<_>>();
        assert_eq!(of(weights.path(&person(1, 11), Some(GROUP))), [(7, 2), (1, 3), (11, 4)]);
        assert_eq!(of(weights.path(&person(7, 1), None)), [(7, 1), (1, 1)]);
    }
}
