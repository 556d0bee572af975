//! Five gateways and whoever keeps the budget, with messages that are lost, repeated and late, and gateways that die at any
//! moment. A hard budget is never overspent, and what nobody uses comes back.

use budgets::{Amount, Ask, Lease, Limit, Purse, Stand};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::collections::{HashMap, VecDeque};

const GATEWAYS: usize = 5;
const LIMIT: i128 = 100_000;
const CHUNK: i128 = 2_000;

const fn money(money: i128) -> Amount {
    Amount { money, tokens: 0 }
}

/// Whoever keeps the budget.
#[derive(Default)]
struct Keeper {
    leases: HashMap<u64, Lease>,
    spent: Amount,
}

impl Keeper {
    fn hear(&mut self, gateway: u64, ask: Ask) -> Amount {
        let mut lease = self.leases.get(&gateway).copied().unwrap_or_default();
        let others = self.leases.iter().filter(|(id, _)| **id != gateway);
        let others = others.fold(Amount::ZERO, |sum, (_, lease)| sum + lease.outstanding());
        let limit = Limit { money: Some(LIMIT as i64), tokens: None };
        lease.hear(ask, &Stand { limit, spent: self.spent, others });
        self.leases.insert(gateway, lease);
        lease.granted
    }

    /// A record, which comes once.
    fn record(&mut self, gateway: u64, cost: i128) {
        self.spent += money(cost);
        self.leases.entry(gateway).or_default().recorded += money(cost);
    }

    fn committed(&self) -> i128 {
        self.leases.values().fold(self.spent, |sum, lease| sum + lease.outstanding()).money
    }
}

struct Gateway {
    id: u64,
    purse: Purse,
    /// Requests under way: what was set aside, and what they will have cost.
    under_way: Vec<(i128, i128)>,
}

/// On a gateway's disk: records that the keeper has not got, oldest first.
type Journal = VecDeque<(u64, i128)>;

struct World {
    random: StdRng,
    keeper: Keeper,
    gateways: Vec<Gateway>,
    journals: Vec<Journal>,
    /// Those that died, with the place where their journals lie, until these are read.
    dead: Vec<(usize, u64)>,
    asks: Vec<(u64, Ask)>,
    answers: Vec<(u64, Amount)>,
    next: u64,
    /// What engines did, whoever knows of it.
    cost: i128,
    refused: u64,
    crashes: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let limit = Limit { money: Some(LIMIT as i64), tokens: None };
        let gateway = |id| Gateway { id, purse: Purse::new(limit), under_way: Vec::new() };
        Self {
            random: StdRng::seed_from_u64(seed),
            keeper: Keeper::default(),
            gateways: (0..GATEWAYS as u64).map(gateway).collect(),
            journals: vec![Journal::new(); GATEWAYS],
            dead: Vec::new(),
            asks: Vec::new(),
            answers: Vec::new(),
            next: GATEWAYS as u64,
            cost: 0,
            refused: 0,
            crashes: 0,
        }
    }

    fn step(&mut self, crashes: bool) {
        let at = self.random.random_range(0..GATEWAYS);
        match self.random.random_range(0..100) {
            0..40 => self.arrive(at),
            40..70 => self.finish(at),
            70..82 => {
                let gateway = &mut self.gateways[at];
                let ask = (gateway.id, gateway.purse.ask(money(CHUNK)));
                self.asks.push(ask);
            }
            82..90 => self.deliver(),
            90..98 => self.ship(at),
            98 if crashes => self.crash(at),
            _ => self.read_journals(),
        }
        assert!(self.keeper.committed() <= LIMIT, "more was given than there is");
        assert!(self.cost <= LIMIT, "the budget was overspent");
        assert!(self.keeper.spent.money <= self.cost, "the ledger has more than was done");
    }

    fn arrive(&mut self, at: usize) {
        let most = self.random.random_range(1..600);
        let gateway = &mut self.gateways[at];
        if gateway.purse.reserve(money(most)) {
            let cost = self.random.random_range(0..=most);
            gateway.under_way.push((most, cost));
            self.cost += cost;
        } else {
            self.refused += 1;
        }
    }

    fn finish(&mut self, at: usize) {
        let gateway = &mut self.gateways[at];
        if let Some((reserved, cost)) = gateway.under_way.pop() {
            gateway.purse.settle(money(reserved), money(cost));
            self.journals[at].push_back((gateway.id, cost));
        }
    }

    /// A message arrives, or does not; and one that arrived may come again later.
    fn deliver(&mut self) {
        if !self.asks.is_empty() {
            let index = self.random.random_range(0..self.asks.len());
            let (id, ask) = self.asks[index];
            if self.random.random_bool(0.7) {
                self.asks.swap_remove(index);
            }
            if self.random.random_bool(0.9) && !self.is_closed(id) {
                let granted = self.keeper.hear(id, ask);
                self.answers.push((id, granted));
            }
        }
        if !self.answers.is_empty() {
            let index = self.random.random_range(0..self.answers.len());
            let (id, granted) = self.answers[index];
            if self.random.random_bool(0.7) {
                self.answers.swap_remove(index);
            }
            if let Some(gateway) = self.gateways.iter_mut().find(|gateway| gateway.id == id) {
                gateway.purse.hear(granted);
            }
        }
    }

    /// Whoever asks in the name of a gateway whose journal was read is not heard any more.
    fn is_closed(&self, id: u64) -> bool {
        let known = self.gateways.iter().map(|gateway| gateway.id).chain(self.dead.iter().map(|(_, id)| *id));
        !known.into_iter().any(|known| known == id)
    }

    fn ship(&mut self, at: usize) {
        if let Some((gateway, cost)) = self.journals[at].pop_front() {
            self.keeper.record(gateway, cost);
        }
    }

    /// What was under way is found begun in the journal at the next start.
    fn crash(&mut self, at: usize) {
        self.crashes += 1;
        let limit = Limit { money: Some(LIMIT as i64), tokens: None };
        let fresh = Gateway { id: self.next, purse: Purse::new(limit), under_way: Vec::new() };
        self.next += 1;
        let gone = std::mem::replace(&mut self.gateways[at], fresh);
        self.dead.push((at, gone.id));
        for (_, cost) in gone.under_way {
            self.journals[at].push_back((gone.id, cost));
        }
    }

    fn read_journals(&mut self) {
        if self.dead.is_empty() {
            return;
        }
        let (at, id) = self.dead.swap_remove(self.random.random_range(0..self.dead.len()));
        while !self.journals[at].is_empty() {
            self.ship(at);
        }
        self.keeper.leases.entry(id).or_default().close();
    }

    /// Everything comes to its end.
    fn settle(&mut self) {
        while !self.dead.is_empty() {
            self.read_journals();
        }
        for at in 0..GATEWAYS {
            while !self.gateways[at].under_way.is_empty() {
                self.finish(at);
            }
            while !self.journals[at].is_empty() {
                self.ship(at);
            }
            // It hears what it was given without knowing, and gives that back too.
            let gateway = &mut self.gateways[at];
            let granted = self.keeper.leases.get(&gateway.id).copied().unwrap_or_default().granted;
            gateway.purse.hear(granted);
            let ask = gateway.purse.close();
            self.keeper.hear(gateway.id, ask);
        }
    }
}

#[test]
fn a_hard_budget_is_never_overspent_and_unused_leases_return() {
    let (mut refused, mut crashes, mut fullest) = (0, 0, 0);
    for seed in 0..200 {
        let mut world = World::new(seed);
        for _ in 0..8_000 {
            world.step(true);
        }
        world.settle();
        assert_eq!(world.keeper.spent.money, world.cost, "seed {seed}: the ledger has all of it");
        assert_eq!(world.keeper.committed(), world.cost, "seed {seed}: nobody holds anything any more");
        (refused, crashes) = (refused + world.refused, crashes + world.crashes);
        fullest = fullest.max(world.cost);
    }
    assert!(crashes > 1_000 && refused > 1_000, "{crashes} crashes, {refused} refusals: it was tried");
    assert!(fullest > LIMIT * 9 / 10, "{fullest}: the budget can be used");
}

#[test]
fn without_crashes_nearly_all_of_a_budget_can_be_spent() {
    let mut world = World::new(7);
    for _ in 0..200_000 {
        world.step(false);
    }
    // What five purses may hold between them that no request fits into.
    assert!(world.cost > LIMIT - 5 * 600, "{} of {LIMIT}", world.cost);
}
