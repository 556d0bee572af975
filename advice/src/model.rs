//! Better-fitting models: another model that callers use on the same endpoint would have cost less for the same tokens.

use crate::{Advice, Confidence, Kind, MONTH, Told, input, withheld};

/// Requests of each model, below which nothing is advised.
const FEWEST: u64 = 100;
/// The part of what a model cost that another one may cost at most.
const CHEAPER: f64 = 0.8;
/// By how much the part of requests that finish may be less.
const WORSE: f64 = 0.01;

/// What was used of a model on one endpoint.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelUse {
    /// The model's own name.
    pub model: String,
    /// Route below /v1.
    pub endpoint: String,
    /// Hours that were looked at.
    pub hours: f64,
    /// Requests, and those of them that finished.
    pub requests: u64,
    /// Those that finished.
    pub finished: u64,
    /// What they cost, in dollars; `None` when that is not known of some.
    pub cost: Option<f64>,
}

/// Another model of the same endpoint, and what the same tokens would have cost there.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// What was used of it.
    pub used: ModelUse,
    /// The same tokens at its price, in dollars.
    pub cost: Option<f64>,
}

/// The cheapest of other models that do well enough.
pub fn model(used: &ModelUse, offers: &[Offer]) -> Told {
    let subject = format!("{} ({})", used.model, used.endpoint);
    if used.requests < FEWEST {
        let because = format!("{} requests were made, and {FEWEST} are needed", used.requests);
        return withheld(Kind::Model, &subject, because);
    }
    let Some(cost) = used.cost.filter(|_| used.hours > 0.0) else {
        return withheld(Kind::Model, &subject, "its price is not known for all requests");
    };
    let does_well = |offer: &&Offer| {
        offer.used.endpoint == used.endpoint
            && offer.used.requests >= FEWEST
            && finishing(&offer.used) >= finishing(used) - WORSE
    };
    let cheaper = |offer: &Offer| Some((offer.cost?, offer.used.clone()));
    let cheapest =
        offers.iter().filter(does_well).filter_map(cheaper).min_by(|one, other| one.0.total_cmp(&other.0));
    let Some((least, other)) = cheapest.filter(|(least, _)| *least <= cost * CHEAPER) else {
        let because = "no other model with as many finished requests on this endpoint is a fifth cheaper";
        return withheld(Kind::Model, &subject, because);
    };
    Ok(Advice {
        kind: Kind::Model,
        subject,
        text: format!("Try {} where {} answers {}.", other.model, used.model, used.endpoint),
        saving: (cost - least) / used.hours * MONTH,
        inputs: vec![
            input("cost", cost, "dollars of its requests"),
            input("other", least, "dollars of the same tokens at the other's price"),
            input("hours", used.hours, "hours"),
            input("finishing", finishing(used), "part of its requests"),
            input("finishing of the other", finishing(&other), "part of its requests"),
        ],
        formula: "saving = (cost − other) / hours × 730",
        confidence: Confidence::Low,
        because: "what its answers are worth is not measured, and the same text may be more tokens there"
            .into(),
    })
}

fn finishing(used: &ModelUse) -> f64 {
    used.finished as f64 / used.requests.max(1) as f64
}
