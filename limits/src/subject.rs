//! Whom a limit is for.

use serde::Deserialize;
use std::net::IpAddr;

/// A kind of subject; every subject of it has a limit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// Where a call comes from; of IPv6 the 64 bits that a subscriber has.
    Address,
    /// The API key.
    Key,
    /// Who calls; the address when nobody is signed in.
    #[default]
    User,
    /// The group through whose grant a model is used.
    Group,
    /// The model.
    Model,
    /// The method or route, for all callers together.
    Endpoint,
}

impl Layer {
    /// Every layer.
    pub const ALL: [Self; 6] =
        [Self::Address, Self::Key, Self::User, Self::Group, Self::Model, Self::Endpoint];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Key => "key",
            Self::User => "user",
            Self::Group => "group",
            Self::Model => "model",
            Self::Endpoint => "endpoint",
        }
    }

    /// The layer of this name.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layer| layer.as_str() == word)
    }

    /// Whether it is known only once a prompt was read.
    pub(crate) const fn is_of_prompts(self) -> bool {
        matches!(self, Self::Group | Self::Model)
    }
}

/// Who and what a call is of, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Subjects {
    /// See [`Subjects::of_address`].
    pub address: Option<u128>,
    /// The key's id.
    pub key: Option<u128>,
    /// The user's id.
    pub user: Option<u128>,
    /// The group's id.
    pub group: Option<u128>,
    /// The model's id.
    pub model: Option<u128>,
    /// The [`name`] of the method or route.
    pub endpoint: Option<u128>,
}

impl Subjects {
    /// An address as a subject: of IPv6 everybody has more of them than could be counted.
    #[must_use]
    pub fn of_address(address: IpAddr) -> u128 {
        match address.to_canonical() {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits() >> 64 << 64,
        }
    }

    pub(crate) fn of(&self, layer: Layer) -> Option<u128> {
        match layer {
            Layer::Address => self.address,
            Layer::Key => self.key,
            Layer::User => self.user.or(self.address),
            Layer::Group => self.group,
            Layer::Model => self.model,
            Layer::Endpoint => self.endpoint,
        }
    }
}

/// What a text is counted as, the same in every process: FNV-1a.
#[must_use]
pub fn name(text: &str) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    text.bytes().fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}
