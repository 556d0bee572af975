//! Whether the encryption keys at hand are those of the store: found out at start, before anything is sealed with the
//! wrong one.

use crate::{error::Error, store::seals};
use shared::{db::Db, seal::Sealer};

const PLACE: &str = "head.seal";
const PROOF: &[u8] = b"tollgate";

/// Opens the store's proof, or leaves one in a store that has none.
pub(crate) async fn prove(db: &Db, sealer: &Sealer) -> Result<(), Error> {
    let proof = seals::proof(db, &sealer.seal(PLACE, PROOF)).await?;
    sealer.open(PLACE, &proof)?;
    Ok(())
}
