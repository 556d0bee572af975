//! How the cost of GPUs is shared among requests.

use pricing::gpu::Weights;
use serde::Deserialize;
use shared::config::Validate;

/// Settings under `monitoring.gpu`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gpu {
    /// What a token weighs that is read and not cached.
    pub prefill_weight: u64,
    /// What a token weighs that is made.
    pub decode_weight: u64,
}

impl Gpu {
    pub(crate) const fn weights(self) -> Weights {
        Weights { prefill: self.prefill_weight, decode: self.decode_weight }
    }
}

impl Default for Gpu {
    fn default() -> Self {
        let Weights { prefill, decode } = Weights::default();
        Self { prefill_weight: prefill, decode_weight: decode }
    }
}

impl Validate for Gpu {
    fn validate(&self, faults: &mut Vec<String>) {
        for (name, weight) in [("prefill_weight", self.prefill_weight), ("decode_weight", self.decode_weight)]
        {
            if !(1..=1_000_000).contains(&weight) {
                faults.push(format!("monitoring.gpu.{name}: must be from 1 to 1,000,000"));
            }
        }
    }
}
