//! Which gateway has the say over an engine: weighted rendezvous hashing.
//!
//! Every gateway finds the same one without asking, as long as it knows the same gateways. When one leaves, only its
//! engines go elsewhere; when one joins, it takes only what will be its own.

/// A gateway that could have it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a, T> {
    /// Whatever the caller knows it by.
    pub(super) who: T,
    /// What it is told apart by: its address, which outlasts a restart.
    pub(super) address: &'a str,
    /// How many engines it should have, in relation to the others.
    pub(super) weight: f64,
}

/// The one of several that an engine belongs to; `None` of none.
pub(super) fn of<'a, T>(engine: &str, candidates: impl IntoIterator<Item = Candidate<'a, T>>) -> Option<T> {
    let scored = candidates.into_iter().map(|one| (score(engine, &one), one));
    let best = scored.min_by(|(left, one), (right, other)| {
        left.total_cmp(right).then_with(|| one.address.cmp(other.address))
    });
    best.map(|(_, one)| one.who)
}

/// The first of several exponential clocks to ring is one with a chance in proportion to its rate.
fn score<T>(engine: &str, candidate: &Candidate<'_, T>) -> f64 {
    let digest = shared::auth::hash(&format!("{engine} {}", candidate.address));
    let mut first = [0; 8];
    first.copy_from_slice(&digest.as_bytes()[..8]);
    // Within 0 and 1, and neither of them.
    let chance = ((u64::from_be_bytes(first) >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
    -chance.ln() / candidate.weight.max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn gateways(weights: &[f64]) -> Vec<(String, f64)> {
        let addresses = (0..).map(|number| format!("http://gateway-{number}:7002"));
        addresses.zip(weights.iter().copied()).collect()
    }

    fn owners(gateways: &[(String, f64)], engines: usize) -> Vec<String> {
        let candidates =
            gateways.iter().map(|(address, weight)| Candidate { who: address, address, weight: *weight });
        let owner = |engine| of(&format!("{engine:012x}"), candidates.clone()).unwrap().clone();
        (0..engines).map(owner).collect()
    }

    fn counts(owners: &[String]) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        owners.iter().for_each(|owner| *counts.entry(owner.as_str()).or_default() += 1);
        counts
    }

    #[test]
    fn engines_are_spread_by_weight() {
        let weights = gateways(&[1.0, 2.0, 1.0]);
        let owners = owners(&weights, 4_000);
        for ((address, weight), count) in weights.iter().zip(counts(&owners).values()) {
            let expected = weight * 1_000.0;
            assert!((*count as f64 - expected).abs() < 0.1 * 4_000.0 / 4.0, "{address} has {count}");
        }
        assert_eq!(of::<()>("engine", []), None);
    }

    #[test]
    fn who_leaves_gives_and_who_joins_takes_and_nothing_else_moves() {
        let (four, three) = (gateways(&[1.0; 4]), gateways(&[1.0; 3]));
        let (with, without) = (owners(&four, 2_000), owners(&three, 2_000));
        let moved: Vec<_> = with.iter().zip(&without).filter(|(with, without)| with != without).collect();
        assert!(moved.iter().all(|(with, _)| **with == four[3].0), "only the fourth's engines move");
        assert_eq!(moved.len(), with.iter().filter(|owner| **owner == four[3].0).count());
        assert!((400..600).contains(&moved.len()), "{}", moved.len());
    }

    #[test]
    fn the_order_in_which_they_are_named_does_not_matter() {
        let mut gateways = gateways(&[1.0; 5]);
        let before = owners(&gateways, 200);
        gateways.reverse();
        assert_eq!(before, owners(&gateways, 200));
    }
}
