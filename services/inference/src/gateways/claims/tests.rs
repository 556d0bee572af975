//! Gateways over the same engines in virtual time: words are lost, late and out of order, gateways come, go and are
//! killed, and at no moment is an engine given more than it takes.

use super::*;
use proptest::prelude::*;
use uuid::Uuid;

const LEASE: Duration = Duration::from_secs(3);
const GRACE: Duration = Duration::from_secs(30);
const ENGINES: [(&str, u32); 4] = [("aaaa", 7), ("bbbb", 1), ("cccc", 16), ("dddd", 2)];

/// A gateway and what it really does.
struct Gateway {
    claims: Claims,
    held: BTreeMap<String, u32>,
    /// Whether it does not reach permissions.
    cut: bool,
}

/// What permissions has written down of one.
struct Row {
    word: Word,
    at: Duration,
}

/// What is on its way.
enum Message {
    Word { from: usize, word: Word },
    Answer { to: usize, sequence: u64, listed: Vec<Listed> },
}

#[derive(Default)]
struct World {
    now: Duration,
    /// By number, those that are gone included.
    gateways: Vec<Option<Gateway>>,
    rows: BTreeMap<usize, Row>,
    /// With the time at which each was sent.
    messages: Vec<(Duration, Message)>,
}

/// What may happen; numbers choose among what is there.
#[derive(Debug, Clone)]
enum Event {
    Pass(u64),
    Say(usize),
    Deliver(usize),
    Lose(usize),
    Hold(usize, usize),
    Finish(usize, usize),
    Join,
    Kill(usize),
    Drain(usize),
    Cut(usize),
    Heal(usize),
}

fn id(number: usize) -> GatewayId {
    Uuid::from_u128(number as u128 + 1)
}

fn events(often: u32) -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        12 => (0..1_500_u64).prop_map(Event::Pass),
        25 => any::<usize>().prop_map(Event::Say),
        50 => any::<usize>().prop_map(Event::Deliver),
        3 => any::<usize>().prop_map(Event::Lose),
        30 => any::<(usize, usize)>().prop_map(|(of, at)| Event::Hold(of, at)),
        12 => any::<(usize, usize)>().prop_map(|(of, at)| Event::Finish(of, at)),
        often => Just(Event::Join),
        often => any::<usize>().prop_map(Event::Kill),
        often => any::<usize>().prop_map(Event::Drain),
        2 => any::<usize>().prop_map(Event::Cut),
        3 => any::<usize>().prop_map(Event::Heal),
    ];
    proptest::collection::vec(event, 1..600)
}

impl World {
    fn of(count: usize) -> Self {
        let mut world = Self::default();
        (0..count).for_each(|_| world.join());
        world
    }

    fn join(&mut self) {
        let number = self.gateways.len();
        let times = Times { lease: LEASE, grace: GRACE };
        let mut claims = Claims::new(id(number), &format!("http://gateway-{number}"), 1.0, times);
        claims.engines(ENGINES.map(|(name, limit)| (name.to_owned(), limit)));
        self.gateways.push(Some(Gateway { claims, held: BTreeMap::new(), cut: false }));
    }

    fn living(&self) -> Vec<usize> {
        (0..self.gateways.len()).filter(|&number| self.gateways[number].is_some()).collect()
    }

    fn one(&self, of: usize) -> Option<usize> {
        let living = self.living();
        living.get(of % living.len().max(1)).copied()
    }

    fn get(&mut self, number: usize) -> &mut Gateway {
        self.gateways[number].as_mut().unwrap()
    }

    fn say(&mut self, number: usize) {
        let now = self.now;
        let gateway = self.get(number);
        gateway.claims.give_up();
        let word = gateway.claims.say(&gateway.held, now);
        self.messages.push((now, Message::Word { from: number, word }));
    }

    fn deliver(&mut self, message: Message) {
        let now = self.now;
        match message {
            Message::Word { from, .. } if self.is_cut(from) => {}
            Message::Word { from, word } => {
                let sequence = word.sequence;
                if self.rows.get(&from).is_none_or(|row| row.word.sequence < sequence) {
                    self.rows.insert(from, Row { word, at: now });
                }
                let listed = self.rows.iter().map(|(&number, row)| Listed {
                    id: id(number),
                    word: row.word.clone(),
                    live: now - row.at <= LEASE,
                });
                let listed = listed.collect();
                self.messages.push((now, Message::Answer { to: from, sequence, listed }));
            }
            Message::Answer { to, .. } if self.is_cut(to) => {}
            Message::Answer { to, sequence, listed } => {
                if let Some(gateway) = &mut self.gateways[to] {
                    gateway.claims.answered(sequence, listed);
                }
            }
        }
    }

    fn is_cut(&self, number: usize) -> bool {
        self.gateways[number].as_ref().is_some_and(|gateway| gateway.cut)
    }

    /// Asks whoever is doubtful; gateways reach each other.
    fn ask(&mut self, number: usize) {
        let now = self.now;
        for (other, _) in self.get(number).claims.to_ask(now) {
            let asked = usize::try_from(other.as_u128()).unwrap() - 1;
            let asker = self.get(number);
            let (word, knows) = (asker.claims.word(now), !asker.claims.is_stale(now));
            let reach = match &mut self.gateways[asked] {
                Some(gateway) => {
                    gateway.claims.asked_by(id(number), word, knows);
                    Reach::Here { word: gateway.claims.word(now), knows: !gateway.claims.is_stale(now) }
                }
                None => Reach::Gone,
            };
            self.get(number).claims.reached(other, reach, now);
        }
    }

    /// Time goes by; whoever is doubtful is asked all the while, and no message is older than ten seconds.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        let since = self.now.saturating_sub(Duration::from_secs(10));
        self.messages.retain(|(sent, _)| *sent >= since);
        self.living().into_iter().for_each(|number| self.ask(number));
    }

    fn hold(&mut self, number: usize, at: usize) {
        let (now, (engine, _)) = (self.now, ENGINES[at % ENGINES.len()]);
        let gateway = self.get(number);
        let most = gateway.claims.parts(now)[engine].most;
        let held = gateway.held.entry(engine.to_owned()).or_default();
        if *held < most {
            *held += 1;
        }
    }

    fn finish(&mut self, number: usize, at: usize) {
        let (engine, _) = ENGINES[at % ENGINES.len()];
        if let Some(held) = self.get(number).held.get_mut(engine) {
            *held = held.saturating_sub(1);
        }
    }

    fn happen(&mut self, event: &Event) {
        let message = |of: &usize, messages: &Vec<_>| of.checked_rem(messages.len());
        match event {
            Event::Pass(millis) => self.pass(Duration::from_millis(*millis)),
            Event::Deliver(of) => {
                if let Some(at) = message(of, &self.messages) {
                    let (_, message) = self.messages.swap_remove(at);
                    self.deliver(message);
                }
            }
            Event::Lose(of) => drop(message(of, &self.messages).map(|at| self.messages.swap_remove(at))),
            Event::Join => self.join(),
            Event::Say(of) => drop(self.one(*of).map(|number| self.say(number))),
            Event::Hold(of, at) => drop(self.one(*of).map(|number| self.hold(number, *at))),
            Event::Finish(of, at) => drop(self.one(*of).map(|number| self.finish(number, *at))),
            Event::Kill(of) => drop(self.one(*of).map(|number| self.gateways[number] = None)),
            Event::Drain(of) => drop(self.one(*of).map(|number| self.get(number).claims.drain())),
            Event::Cut(of) => drop(self.one(*of).map(|number| self.get(number).cut = true)),
            Event::Heal(of) => drop(self.one(*of).map(|number| self.get(number).cut = false)),
        }
        self.check();
    }

    /// What the gateways hold or may hold at an engine, all together.
    fn used(&self, engine: &str) -> u32 {
        let of = |gateway: &Gateway| {
            let held = gateway.held.get(engine).copied().unwrap_or(0);
            gateway.claims.parts(self.now)[engine].most.max(held)
        };
        self.gateways.iter().flatten().map(of).sum()
    }

    fn check(&self) {
        for (engine, limit) in ENGINES {
            let used = self.used(engine);
            assert!(used <= limit, "{used} of {limit} are used of {engine}");
        }
    }

    /// Nothing is lost and nothing is late.
    fn calm(&mut self) {
        for number in self.living() {
            self.get(number).cut = false;
            self.get(number).held.clear();
        }
        for _ in 0..8 {
            for number in self.living() {
                self.say(number);
                while let Some((_, message)) = self.messages.pop() {
                    self.deliver(message);
                    self.check();
                }
            }
            self.pass(Duration::from_millis(800));
        }
    }

    /// By engine: who may hold how much there.
    fn parts(&self) -> Vec<Vec<u32>> {
        let most = |engine: &str| -> Vec<u32> {
            let parts = self.gateways.iter().flatten();
            parts.map(|gateway| gateway.claims.parts(self.now)[engine].most).collect()
        };
        ENGINES.map(|(engine, _)| most(engine)).into()
    }

    /// Everyone is cut off, and whoever is left learns by asking who else is.
    fn permissions_away(&mut self) {
        for number in self.living() {
            self.get(number).cut = true;
        }
        for _ in 0..40 {
            self.pass(Duration::from_secs(1));
            self.living().into_iter().for_each(|number| self.say(number));
            self.check();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_engine_is_given_more_than_it_takes_whatever_is_lost_and_late(events in events(2)) {
        let mut world = World::of(3);
        for event in &events {
            world.happen(event);
        }
    }

    #[test]
    fn in_the_end_one_gateway_has_all_of_each_engine(events in events(1)) {
        let mut world = World::of(3);
        for event in &events {
            world.happen(event);
        }
        world.join();
        world.calm();
        for ((engine, limit), parts) in ENGINES.iter().zip(world.parts()) {
            let of_one = parts.iter().filter(|most| **most == *limit).count();
            prop_assert_eq!((of_one, parts.iter().sum::<u32>()), (1, *limit), "{}: {:?}", engine, parts);
        }
    }
}

fn owner(world: &World, engine: usize) -> usize {
    let place = world.parts()[engine].iter().position(|most| *most > 0).unwrap();
    world.living()[place]
}

#[test]
fn a_gateway_that_knows_nobody_uses_nothing_and_one_that_is_alone_everything() {
    let mut world = World::of(1);
    assert_eq!(world.parts(), vec![vec![0]; 4]);
    world.calm();
    assert_eq!(world.parts(), [[7], [1], [16], [2]]);
}

#[test]
fn a_newcomer_waits_for_what_still_runs_at_the_engines_that_are_its_now() {
    let mut world = World::of(1);
    world.calm();
    for _ in 0..5 {
        world.hold(0, 2);
    }
    while owner_after_join(&world) == 0 {
        world.join();
    }
    for _ in 0..3 {
        for number in world.living() {
            world.say(number);
            while let Some((_, message)) = world.messages.pop() {
                world.deliver(message);
            }
        }
    }
    let parts = world.parts()[2].clone();
    assert_eq!((parts[0], parts.iter().sum::<u32>()), (0, 11), "five still run: {parts:?}");
    (0..5).for_each(|_| world.finish(0, 2));
    world.calm();
    assert_eq!(world.parts()[2].iter().sum::<u32>(), 16);
}

/// Who would own the third engine if everyone knew everyone.
fn owner_after_join(world: &World) -> usize {
    let address = |number| format!("http://gateway-{number}");
    let addresses: Vec<(usize, String)> =
        world.living().into_iter().map(|number| (number, address(number))).collect();
    let candidates = addresses.iter().map(|(who, address)| Candidate { who: *who, address, weight: 1.0 });
    owner::of(ENGINES[2].0, candidates).unwrap()
}

#[test]
fn what_a_killed_gateway_held_is_used_again_when_its_lease_is_over_and_it_is_known_to_be_gone() {
    let mut world = World::of(3);
    world.calm();
    let (dead, engine) = (owner(&world, 0), ENGINES[0].0);
    world.gateways[dead] = None;
    for number in world.living() {
        world.say(number);
        while let Some((_, message)) = world.messages.pop() {
            world.deliver(message);
        }
    }
    assert_eq!(world.used(engine), 0, "it may still be there");
    world.now += LEASE;
    world.calm();
    assert_eq!(world.used(engine), 7);
}

#[test]
fn while_permissions_is_away_everyone_keeps_what_it_has() {
    let mut world = World::of(3);
    world.calm();
    let before = world.parts();
    world.permissions_away();
    assert_eq!(world.parts(), before);
}

#[test]
fn when_permissions_and_the_owner_are_away_the_others_have_fixed_shares_of_its_engines() {
    let mut world = World::of(3);
    world.calm();
    let dead = owner(&world, 0);
    let before = world.parts();
    world.gateways[dead] = None;
    world.permissions_away();
    for (engine, (before, parts)) in before.iter().zip(world.parts()).enumerate() {
        let limit = ENGINES[engine].1;
        if before[dead] == 0 {
            assert_eq!(parts.iter().sum::<u32>(), limit, "it was another's, and stays so");
        } else {
            let third = limit / 3;
            assert!(parts.iter().all(|part| (third..=third + 1).contains(part)), "{parts:?} of {limit}");
            assert!(parts.iter().sum::<u32>() <= limit);
        }
    }
    // It is owned again as soon as permissions is back.
    world.calm();
    assert!(world.parts().iter().zip(ENGINES).all(|(parts, (_, limit))| parts.contains(&limit)));
}

#[test]
fn who_reaches_nobody_keeps_no_more_than_its_share_and_is_taken_for_gone_in_the_end() {
    let mut world = World::of(3);
    world.calm();
    let lonely = owner(&world, 0);
    world.get(lonely).cut = true;
    world.now += LEASE + Duration::from_secs(1);
    let now = world.now;
    for other in world.living() {
        world.get(lonely).claims.reached(id(other), Reach::Silent, now);
    }
    assert!((2..=3).contains(&world.get(lonely).claims.parts(now)[ENGINES[0].0].most));
    let others: Vec<usize> = world.living().into_iter().filter(|&other| other != lonely).collect();
    for passed in [Duration::ZERO, GRACE] {
        world.now += passed;
        let now = world.now;
        for &number in others.iter().cycle().take(3 * others.len()) {
            world.get(number).claims.reached(id(lonely), Reach::Silent, now);
            world.say(number);
            while let Some((_, message)) = world.messages.pop() {
                world.deliver(message);
            }
        }
        let most =
            |number: &usize| world.gateways[*number].as_ref().unwrap().claims.parts(now)[ENGINES[0].0].most;
        let had: u32 = others.iter().map(most).sum();
        assert_eq!(had, if passed.is_zero() { 0 } else { 7 }, "after {passed:?}");
    }
}

#[test]
fn fixed_shares_make_no_more_than_the_limit_with_more_gateways_than_places() {
    let mut world = World::of(5);
    world.calm();
    for (engine, limit) in ENGINES {
        let shares: Vec<u32> =
            world.living().iter().map(|&number| world.get(number).claims.share(engine)).collect();
        assert_eq!(shares.iter().sum::<u32>(), limit, "{shares:?}");
        assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
    }
}

/// What one writes arrives, and it hears no answer.
fn say_unheard(world: &mut World, number: usize) {
    world.say(number);
    if let Some((_, word)) = world.messages.pop() {
        world.deliver(word);
    }
    world.messages.retain(|(_, message)| !matches!(message, Message::Answer { to, .. } if *to == number));
}

#[test]
fn who_writes_and_hears_no_answer_is_asked_before_a_newcomer_uses_anything() {
    for joined in 20..80 {
        let mut world = World::of(3);
        world.calm();
        let gone = owner(&world, 0);
        let deaf = (0..3).find(|&number| number != gone).unwrap();
        (0..3).filter(|&number| number != deaf).for_each(|number| world.gateways[number] = None);
        for step in 0..90 {
            say_unheard(&mut world, deaf);
            if step == joined {
                world.join();
            }
            for number in world.living().into_iter().filter(|&number| number != deaf) {
                for _ in 0..2 {
                    world.say(number);
                    while let Some((_, message)) = world.messages.pop() {
                        world.deliver(message);
                        world.check();
                    }
                }
            }
            world.pass(Duration::from_millis(500));
            world.check();
        }
        let newcomer = world.parts().iter().map(|parts| parts[1]).collect::<Vec<_>>();
        assert!(newcomer.iter().any(|most| *most > 0), "it is not kept waiting: {newcomer:?}");
    }
}
