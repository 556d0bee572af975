//! Budgets that several gateways spend at once without overspending them.
//!
//! Whoever keeps the budget carves leases out of what is left ([`Lease`], [`Stand`]); a gateway holds its part in a
//! [`Purse`] and takes from it without asking anybody. All that they tell each other are totals that only grow, so that a
//! message may be lost, repeated or late: whoever hears it takes the larger. What a gateway holds counts as spent until
//! it is given back or shows up in the ledger, also when the gateway is gone.
//!
//! Nothing here does I/O or knows the time. [`window`] says when a budget begins anew, [`forecast`] where it will end.

mod amount;
pub mod forecast;
mod lease;
mod purse;
mod threshold;
pub mod window;

pub use amount::{Amount, Limit};
pub use lease::{Ask, Lease, Stand};
pub use purse::Purse;
pub use threshold::{THRESHOLDS, crossed, used_ratio};
