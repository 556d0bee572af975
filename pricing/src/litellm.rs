//! LiteLLM's price list, `model_prices_and_context_window.json`: a map from model to many fields, of which a few are
//! dollars per token.
//!
//! Numbers are taken from the text as they stand there. `sample_spec` documents the fields and is no model.

use crate::{Money, NotMoney, Price};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// From dollars per token to dollars per million.
const MILLION: i32 = 6;
/// The entry that is documentation.
const SAMPLE: &str = "sample_spec";

/// The price of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The model's name in the list.
    pub model: String,
    /// Who offers it there.
    pub provider: String,
    /// The price.
    pub price: Price,
    /// Fields with prices that are not taken over: other kinds of tokens, longer contexts, units other than tokens.
    pub left_out: Vec<String>,
}

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Neither input nor output has a price per token.
    #[error("has no price per token")]
    NoPrice,
    /// A price is below zero.
    #[error("has a negative price")]
    Negative,
    /// A price cannot be kept.
    #[error("has a price that cannot be kept: {0}")]
    NotMoney(#[from] NotMoney),
    /// It is no object of fields.
    #[error("is not an entry of this format")]
    Malformed,
}

/// A model of the list, with its price or with what is wrong with its entry.
pub type Listed = (String, Result<Entry, Fault>);

/// Reads the list: each model with its price, or with what is wrong with it, in the order of names.
///
/// # Errors
/// When the text is no JSON object.
pub fn read(text: &str) -> Result<Vec<Listed>, serde_json::Error> {
    let models: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
    let models = models.into_iter().filter(|(model, _)| model != SAMPLE);
    Ok(models.map(|(model, fields)| (model.clone(), entry(model, fields.get()))).collect())
}

fn entry(model: String, fields: &str) -> Result<Entry, Fault> {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(fields).map_err(|_| Fault::Malformed)?;
    let price =
        |field: &str| fields.get(field).map(|raw| dollars(raw.get())).transpose().map(Option::flatten);
    let price = Price {
        input: price("input_cost_per_token")?,
        cache_read: price("cache_read_input_token_cost")?,
        output: price("output_cost_per_token")?,
    };
    if price.input.is_none() && price.output.is_none() {
        return Err(Fault::NoPrice);
    }
    let taken = ["input_cost_per_token", "cache_read_input_token_cost", "output_cost_per_token"];
    let is_price = |field: &str| field.contains("cost") && !taken.contains(&field);
    let says = |raw: &RawValue| dollars(raw.get()).ok().flatten().is_some_and(|amount| amount.0 != 0);
    let left_out = fields.iter().filter(|(field, raw)| is_price(field) && says(raw));
    let provider = fields.get("litellm_provider").and_then(|raw| serde_json::from_str(raw.get()).ok());
    Ok(Entry {
        model,
        provider: provider.unwrap_or_default(),
        price,
        left_out: left_out.map(|(field, _)| field.clone()).collect(),
    })
}

/// Dollars for a million tokens, from the text of dollars for one; numbers stand in quotes now and then.
fn dollars(text: &str) -> Result<Option<Money>, Fault> {
    let text = text.trim();
    if text == "null" {
        return Ok(None);
    }
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let amount = Money::shifted(text, MILLION)?;
    if amount.0 < 0 { Err(Fault::Negative) } else { Ok(Some(amount)) }
}
