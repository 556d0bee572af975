//! Access tokens: JWTs signed with Ed25519, made by permissions and verified by every service from the public keys in
//! its policy.
//!
//! A token says who and in which session, never in what office: roles are looked up when it is used. `alg` is pinned
//! to EdDSA and `kid` must name a key of the policy, so a token cannot choose how it is verified.

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::ErrorKind,
    signature::{Error, Signer, Verifier},
};
use policy::{Epoch, Revision, SessionId, Time, UserId};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use std::{sync::LazyLock, time::Duration};
use uuid::Uuid;

/// Who makes tokens.
pub const ISSUER: &str = "tollgate";
/// Whom they are for.
pub const AUDIENCE: &str = "tollgate";
/// How far the maker's clock may be ahead of the verifier's. An end is an end: it gets no such allowance.
pub const LEEWAY: Duration = Duration::from_secs(5);
/// Longest token that is looked at, in bytes; ours have about 600.
const MAX_LENGTH: usize = 2_048;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// [`ISSUER`].
    pub iss: String,
    /// [`AUDIENCE`].
    pub aud: String,
    /// The user.
    pub sub: UserId,
    /// The session.
    pub sid: SessionId,
    /// The token itself.
    pub jti: Uuid,
    /// When it was made, in seconds since 1970.
    pub iat: i64,
    /// From when on it is refused, in seconds since 1970.
    pub exp: i64,
    /// The log that the maker's policy was of.
    pub epoch: Epoch,
    /// The revision that the maker's policy had.
    pub rev: Revision,
}

/// Why a text is no token that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Not made by a key that counts, not for us, or no token at all.
    #[error("the access token is not valid")]
    Invalid,
    /// Past its end.
    #[error("the access token has expired")]
    Expired,
}

/// Signs tokens. The private half of a signing key, opened.
pub struct TokenSigner {
    kid: String,
    key: EncodingKey,
    public: [u8; 32],
}

impl std::fmt::Debug for TokenSigner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "TokenSigner({})", self.kid)
    }
}

impl TokenSigner {
    /// The key with this name and seed; `None` when the seed does not have 32 bytes.
    #[must_use]
    pub fn new(kid: String, seed: &[u8]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let public = pair.public_key().as_ref().try_into().ok()?;
        Some(Self { kid, key: EncodingKey::from_ed_der(seed), public })
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> [u8; 32] {
        self.public
    }

    /// The token that says this; `None` only if it could not be written as JSON.
    #[must_use]
    pub fn sign(&self, claims: &Claims) -> Option<String> {
        LazyLock::force(&CRYPTO);
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, claims, &self.key).ok()
    }
}

/// Whether a credential has the shape of a token: three parts of base64url, the first one of JSON.
#[must_use]
pub fn is_token(credential: &str) -> bool {
    credential.starts_with("eyJ") && credential.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// What a token says and by which key, once its signature is verified with the public key that `key` knows by name.
/// Whether it counts at an instant is for [`in_time`] to say.
///
/// # Errors
/// When it is no token of ours.
pub fn verify(token: &str, key: impl FnOnce(&str) -> Option<[u8; 32]>) -> Result<(Claims, String), BadToken> {
    LazyLock::force(&CRYPTO);
    if token.len() > MAX_LENGTH {
        return Err(BadToken::Invalid);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| BadToken::Invalid)?;
    let kid = header.kid.filter(|_| header.alg == Algorithm::EdDSA).ok_or(BadToken::Invalid)?;
    let public = key(&kid).ok_or(BadToken::Invalid)?;
    let token = jsonwebtoken::decode::<Claims>(token, &DecodingKey::from_ed_der(&public), &VALIDATION)
        .map_err(|_| BadToken::Invalid)?;
    Ok((token.claims, kid))
}

/// Whether a token counts at `now`: the first instant of its last second is its end. That is looked at as of `renewable`,
/// until when its holder could have got another one.
///
/// # Errors
/// [`BadToken::Expired`] after its end, [`BadToken::Invalid`] when it is of the future.
pub fn in_time(claims: &Claims, renewable: Time, now: Time) -> Result<(), BadToken> {
    if renewable.min(now) >= seconds(claims.exp) {
        return Err(BadToken::Expired);
    }
    if seconds(claims.iat) > now.plus(LEEWAY) { Err(BadToken::Invalid) } else { Ok(()) }
}

fn seconds(seconds: i64) -> Time {
    Time(seconds.saturating_mul(1_000_000))
}

/// Time is compared by [`in_time`], which is told it.
static VALIDATION: LazyLock<Validation> = LazyLock::new(|| {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.validate_exp = false;
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation
});

/// The library's cryptography, over the one implementation that TLS uses too. It knows no algorithm but ours.
static CRYPTO: LazyLock<()> = LazyLock::new(|| {
    static ED25519_ALONE: CryptoProvider = CryptoProvider {
        signer_factory: |algorithm, key| match algorithm {
            Algorithm::EdDSA => Ed25519KeyPair::from_seed_unchecked(key.as_bytes())
                .map(|pair| Box::new(Signs(pair)) as Box<dyn JwtSigner>)
                .map_err(|_| ErrorKind::InvalidEddsaKey.into()),
            _ => Err(ErrorKind::InvalidAlgorithm.into()),
        },
        verifier_factory: |algorithm, key| match algorithm {
            Algorithm::EdDSA => Ok(Box::new(Verifies(key.try_get_as_bytes()?.to_vec()))),
            _ => Err(ErrorKind::InvalidAlgorithm.into()),
        },
        key_utils: KeyUtils::new_unimplemented(),
    };
    if ED25519_ALONE.install_default().is_err() {
        tracing::error!("another JWT cryptography was installed first");
    }
});

struct Signs(Ed25519KeyPair);

impl Signer<Vec<u8>> for Signs {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

impl JwtSigner for Signs {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct Verifies(Vec<u8>);

impl Verifier<Vec<u8>> for Verifies {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), Error> {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).map_err(|_| Error::new())
    }
}

impl JwtVerifier for Verifies {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

#[cfg(test)]
mod tests;
