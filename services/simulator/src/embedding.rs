//! Vectors: of length one, and the same for the same text, so that a test can tell two inputs apart.

use crate::text::{hash, mix};

/// Numbers in a vector, as in the recorded tiny model.
const DIMENSIONS: u64 = 128;

/// The vector of a text.
pub(crate) fn embed(text: &str) -> Vec<f32> {
    let seed = hash(text, 0);
    let raw: Vec<f64> = (0..DIMENSIONS).map(|place| unit(mix(seed, place))).collect();
    let length = raw.iter().map(|number| number * number).sum::<f64>().sqrt();
    raw.iter().map(|number| (number / length) as f32).collect()
}

/// A number between -1 and 1.
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_vector_of_length_one() {
        let vector = embed("w1 w2");
        let length: f32 = vector.iter().map(|number| number * number).sum();
        assert!((length - 1.0).abs() < 1e-5);
        assert_eq!(vector, embed("w1 w2"));
        assert_ne!(vector, embed("w3"));
    }
}
