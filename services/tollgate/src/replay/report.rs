//! What the replay found, as a table or as one JSON object.

use super::{balance::Balance, send::Sent};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use simulate::judge;
use std::io::{self, Write};

/// Everything there is to report.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) sent: &'a Sent,
    pub(super) balance: &'a Balance,
    /// By the definitions of `tollgate simulate`.
    pub(super) judged: Option<&'a judge::Report>,
}

const PERCENTILES: [(&str, f64); 4] = [("p50", 50.0), ("p90", 90.0), ("p95", 95.0), ("p99", 99.0)];

impl Report<'_> {
    pub(super) fn to_json(&self) -> Value {
        let (sent, ledger) = (self.sent, self.balance.ledger.as_ref().ok());
        let mut object = json!({
            "requests": sent.requests,
            "finished": sent.finished,
            "hung_up": sent.hung_up,
            "interrupted": sent.interrupted,
            "errors": sent.errors(),
            "errors_by_kind": sent.faults,
            "clipped": sent.clipped,
            "seconds": sent.elapsed.as_secs_f64(),
            "ledger_tokens": ledger.map(|ledger| ledger.tokens),
            "exact_tokens": sent.exact_tokens,
            "estimated_tokens": ledger.map(|ledger| ledger.estimated),
            "engine_tokens": self.balance.engine_tokens.as_ref().ok(),
            "ledger_requests": ledger.map(|ledger| json!({
                "all": ledger.requests,
                "finished": ledger.finished,
                "cancelled": ledger.cancelled,
                "failed": ledger.failed,
                "crashed": ledger.crashed,
            })),
            "balance_errors": self.complaints(),
            "ttft_ms": percentiles(&sent.first_token),
            "tpot_ms": percentiles(&sent.per_token),
            "e2e_ms": percentiles(&sent.end_to_end),
        });
        // Where both have a name, the judge's says it by class.
        if let Some(judged) = self.judged.and_then(|report| serde_json::to_value(report).ok())
            && let (Value::Object(object), Value::Object(judged)) = (&mut object, judged)
        {
            object.insert("policy".into(), "replay".into());
            object.extend(judged);
        }
        object
    }

    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let sent = self.sent;
        writeln!(
            out,
            "{} requests in {:.1} s: {} finished, {} hung up, {} errors, {} interrupted; {} clipped\n",
            sent.requests,
            sent.elapsed.as_secs_f64(),
            sent.finished,
            sent.hung_up,
            sent.errors(),
            sent.interrupted,
            sent.clipped
        )?;
        for (word, count) in &sent.faults {
            writeln!(out, "error {word:<20} {count:>10}")?;
        }
        self.write_times(out)?;
        if let Some(judged) = self.judged {
            write_judged(out, judged)?;
        }
        self.write_balance(out)
    }

    fn write_times(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{:<12}{:>10}{:>10}{:>10}{:>10}", "ms", "p50", "p90", "p95", "p99")?;
        let rows = [
            ("TTFT", &self.sent.first_token),
            ("TPOT", &self.sent.per_token),
            ("end to end", &self.sent.end_to_end),
        ];
        for (name, histogram) in rows {
            write!(out, "{name:<12}")?;
            for (_, percentile) in PERCENTILES {
                match millis(histogram, percentile) {
                    Some(value) => write!(out, "{value:>10.1}")?,
                    None => write!(out, "{:>10}", "-")?,
                }
            }
            writeln!(out)?;
        }
        writeln!(out)
    }

    fn write_balance(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{:<34}{:>14}", "tokens told to finished clients", self.sent.exact_tokens)?;
        if let Ok(ledger) = &self.balance.ledger {
            writeln!(out, "{:<34}{:>14}", "tokens in the ledger", ledger.tokens)?;
            writeln!(out, "{:<34}{:>14}", "of these estimated", ledger.estimated)?;
            writeln!(
                out,
                "{:<34}{:>14}  ({} finished, {} cancelled, {} failed, {} crashed)",
                "records in the ledger",
                ledger.requests,
                ledger.finished,
                ledger.cancelled,
                ledger.failed,
                ledger.crashed
            )?;
        }
        if let Ok(engines) = &self.balance.engine_tokens {
            writeln!(out, "{:<34}{engines:>14}", "tokens counted by the engines")?;
            if let Ok(ledger) = &self.balance.ledger {
                let difference = i128::from(*engines) - i128::from(ledger.tokens);
                writeln!(out, "{:<34}{difference:>14}", "engines minus ledger")?;
            }
        }
        for complaint in self.complaints() {
            writeln!(out, "no balance: {complaint}")?;
        }
        Ok(())
    }

    fn complaints(&self) -> Vec<String> {
        let ledger = self.balance.ledger.as_ref().err();
        let engines = self.balance.engine_tokens.as_ref().err();
        ledger.into_iter().chain(engines).map(|error| format!("{error:#}")).collect()
    }
}

fn write_judged(out: &mut impl Write, judged: &judge::Report) -> io::Result<()> {
    writeln!(out, "{:<34}{:>14.2}", "requests a second in time", judged.goodput_rps)?;
    writeln!(out, "{:<34}{:>14.0}", "tokens a second in time", judged.goodput_tps)?;
    writeln!(out, "{:<34}{:>14.3}", "part of all in time", judged.attainment)?;
    for (class, part) in &judged.attainment_by_class {
        writeln!(out, "{:<34}{part:>14.3}", format!("  {class}"))?;
    }
    writeln!(out, "{:<34}{:>14.3}", "Jain's index", judged.jain)?;
    for (reason, part) in &judged.refused {
        writeln!(out, "{:<34}{part:>14.3}", format!("refused: {reason}"))?;
    }
    writeln!(out)
}

fn percentiles(histogram: &Histogram<u64>) -> Value {
    PERCENTILES.iter().map(|(name, at)| ((*name).to_owned(), json!(millis(histogram, *at)))).collect()
}

/// In milliseconds; none when nothing was measured.
fn millis(histogram: &Histogram<u64>, percentile: f64) -> Option<f64> {
    let micros = u32::try_from(histogram.value_at_percentile(percentile)).unwrap_or(u32::MAX);
    (!histogram.is_empty()).then(|| f64::from(micros) / 1e3)
}
