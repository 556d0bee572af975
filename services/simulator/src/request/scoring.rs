//! `POST /rerank` and `POST /score`: pairs of texts.

use serde_json::Value;

use super::body::Body;
use super::fields::Fields;
use super::sampling::check_prompt;
use crate::config::Config;
use crate::errors::ApiError;
use crate::prompt::Prompt;

/// The names under which the two sides of a score may come, in the order in which they are reported.
const SIDES: [(&str, &str); 4] =
    [("queries", "documents"), ("queries", "items"), ("data_1", "data_2"), ("text_1", "text_2")];

/// Texts to be compared.
#[derive(Debug)]
pub(crate) struct Scoring {
    /// One for all, or one for each.
    pub(crate) queries: Vec<Prompt>,
    pub(crate) documents: Vec<Prompt>,
    /// How many of the best are told; 0 for all.
    pub(crate) top: usize,
    pub(crate) priority: i64,
}

impl Scoring {
    pub(crate) fn rerank(body: &Body, config: &Config) -> Result<Self, ApiError> {
        Self::read(body, config, ("query", "documents"))
    }

    pub(crate) fn score(body: &Body, config: &Config) -> Result<Self, ApiError> {
        let whole = |(one, other): &(&str, &str)| body.contains_key(*one) && body.contains_key(*other);
        if let Some(sides) = SIDES.into_iter().find(whole) {
            return Self::read(body, config, sides);
        }
        let mut fields = Fields::new(body, "body.");
        for name in SIDES.into_iter().flat_map(|(one, other)| [one, other]) {
            if !body.contains_key(name) {
                fields.missing(name);
            }
        }
        fields.finish()?;
        Err(ApiError::bad_request(None, "At least one text_pair element must be given"))
    }

    fn read(body: &Body, config: &Config, (one, other): (&str, &str)) -> Result<Self, ApiError> {
        let mut fields = Fields::new(body, "body.");
        let model = fields.text("model");
        let (queries, documents) = (texts(&mut fields, one), texts(&mut fields, other));
        let top = fields.int("top_n").unwrap_or(0);
        let priority = fields.strict_int("priority").unwrap_or(0);
        if top < 0 {
            let message = "Input should be greater than or equal to 0";
            fields.report("greater_than_equal", "top_n", message, &Value::from(top));
        }
        fields.finish()?;

        if let Some(name) = model.filter(|name| !name.is_empty() && !config.model.contains(name)) {
            return Err(ApiError::unknown_embedding_model(&name));
        }
        if queries.is_empty() {
            return Err(ApiError::bad_request(None, "At least one text element must be given"));
        }
        if documents.is_empty() {
            return Err(ApiError::bad_request(None, "At least one text_pair element must be given"));
        }
        if queries.len() > 1 && queries.len() != documents.len() {
            return Err(ApiError::bad_request(None, "Input lengths must be either 1:1, 1:N or N:N"));
        }
        for text in queries.iter().chain(&documents) {
            check_prompt(text, config.max_model_len)?;
        }
        Ok(Self { queries, documents, top: usize::try_from(top).unwrap_or(0), priority })
    }

    /// Every pair.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&Prompt, &Prompt)> {
        self.queries.iter().cycle().zip(&self.documents)
    }
}

/// One text or several.
fn texts(fields: &mut Fields<'_>, name: &str) -> Vec<Prompt> {
    let Some(value) = fields.given(name) else {
        fields.missing(name);
        return Vec::new();
    };
    let found: Option<Vec<Prompt>> = match value {
        Value::String(text) => Some(vec![Prompt::from_text(text.as_str())]),
        Value::Array(list) => list.iter().map(|text| text.as_str().map(Prompt::from_text)).collect(),
        _ => None,
    };
    found.unwrap_or_else(|| {
        fields.report("string_type", name, "Input should be a valid string", value);
        Vec::new()
    })
}
