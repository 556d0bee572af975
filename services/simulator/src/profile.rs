//! How an engine performs: named profiles, all of them in `engines.toml`, and further ones in files of the same form.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use figment::Figment;
use figment::providers::{Format, Toml};
use serde::{Deserialize, Deserializer, de};

use crate::batching::{Limits, Speed, Work};

/// The profiles of the program itself, with the reason for each of their figures.
const ENGINES: &str = include_str!("../engines.toml");

/// How an engine performs: how much fits and how long it takes.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Tokens of prompt and answer together that one sequence may have.
    pub max_model_len: u32,
    /// Milliseconds from a request's acceptance to its place in the queue: template, tokens, one hop to the scheduler.
    pub render_ms: f64,
    /// How much fits.
    pub limits: Limits,
    /// How long a step takes.
    pub speed: Speed,
}

/// What `engines.toml` must hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Engines {
    quick: Profile,
    reference: Profile,
    tiny: Profile,
}

impl Engines {
    fn get() -> &'static Self {
        #[expect(clippy::expect_used, reason = "the file is part of the program, and a test reads it")]
        static ENGINES_READ: LazyLock<Engines> =
            LazyLock::new(|| Figment::from(Toml::string(ENGINES)).extract().expect("engines.toml is sound"));
        &ENGINES_READ
    }
}

impl Profile {
    /// What `tollgate up` starts: short answers on any machine, and figures that are easy to reckon with.
    #[must_use]
    pub fn quick() -> Self {
        Engines::get().quick
    }

    /// A large model on four GPUs, from public knowledge: the engine of the published comparisons.
    #[must_use]
    pub fn reference() -> Self {
        Engines::get().reference
    }

    /// A real vLLM on a processor with a tiny model, fitted to a run.
    #[must_use]
    pub fn tiny() -> Self {
        Engines::get().tiny
    }

    /// A profile by its name, or the only one of a file.
    ///
    /// # Errors
    /// When it is neither, or when the file is not as it should be.
    pub fn named(name: &str) -> Result<Self, String> {
        match name {
            "quick" => Ok(Self::quick()),
            "reference" => Ok(Self::reference()),
            "tiny" => Ok(Self::tiny()),
            path if Path::new(path).is_file() => Self::only_one(Figment::from(Toml::file_exact(path))),
            other => Err(format!("{other} is neither a profile (quick, reference, tiny) nor a file")),
        }
    }

    fn only_one(figment: Figment) -> Result<Self, String> {
        let profiles: BTreeMap<String, Self> = figment.extract().map_err(|error| error.to_string())?;
        let mut profiles = profiles.into_values();
        match (profiles.next(), profiles.next()) {
            (Some(profile), None) => Ok(profile),
            _ => Err("a file of a profile holds exactly one table".to_owned()),
        }
    }

    /// From its acceptance to the first token of a request that an idle engine with an empty cache gets, without noise.
    #[must_use]
    pub fn first_token(&self, prompt_tokens: u32) -> Duration {
        let most = self.limits.max_num_batched_tokens.max(1);
        let mut time = Duration::try_from_secs_f64(self.render_ms * 1e-3).unwrap_or_default();
        let mut computed = 0;
        while computed < prompt_tokens.max(1) {
            let tokens = (prompt_tokens.max(1) - computed).min(most);
            time += self.speed.duration(&Work::prefill(tokens, computed));
            computed += tokens;
        }
        time
    }
}

/// Reads a profile by its name or file, as the command line does.
pub(crate) fn by_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Profile, D::Error> {
    Profile::named(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profiles_of_the_program_can_be_had_by_their_names() {
        assert_eq!(Profile::named("quick"), Ok(Profile::quick()));
        assert_eq!(Profile::named("reference"), Ok(Profile::reference()));
        assert_eq!(Profile::named("tiny"), Ok(Profile::tiny()));
        assert!(Profile::named("fast").unwrap_err().contains("neither"));
    }

    #[test]
    fn every_longest_sequence_fits_into_its_cache() {
        for Profile { max_model_len, limits, .. } in [Profile::quick(), Profile::reference(), Profile::tiny()]
        {
            assert!(limits.num_gpu_blocks * limits.block_size >= max_model_len);
        }
    }

    #[test]
    fn a_misspelt_key_is_refused_and_so_are_two_tables() {
        let one = ENGINES.split("[reference]").next().unwrap();
        let read = |text: &str| Profile::only_one(Figment::from(Toml::string(text)));
        assert_eq!(read(one), Ok(Profile::quick()));
        assert!(read(&one.replace("step_ms", "step")).unwrap_err().contains("step"));
        assert!(read(ENGINES).unwrap_err().contains("exactly one"));
    }

    #[test]
    fn the_first_token_of_an_idle_engine_waits_for_every_chunk() {
        let profile = Profile::reference();
        let (whole, speed) = (profile.first_token(10_000), profile.speed);
        let second = Work::prefill(10_000 - 8192, 8192);
        let chunks = speed.duration(&Work::prefill(8192, 0)) + speed.duration(&second);
        assert_eq!(whole, Duration::from_millis(1) + chunks);
    }
}
