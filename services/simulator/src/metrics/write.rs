//! The text format of `/metrics`, down to how the real engine writes its numbers and orders its labels.

use std::fmt::Write as _;

/// How often values fell below each bound.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    bounds: Vec<f64>,
    /// Values per bucket, the last one for those above every bound; summed up when written.
    counts: Vec<u64>,
    sum: f64,
}

/// A page being written.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) text: String,
    model: String,
    created: f64,
}

impl Histogram {
    pub(super) fn new(bounds: &[f64]) -> Self {
        Self { bounds: bounds.to_vec(), counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    pub(super) fn observe(&mut self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum += value;
    }
}

impl Page {
    pub(super) fn new(model: &str, created: f64) -> Self {
        let model = model.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        Self { text: String::with_capacity(32 * 1024), model, created }
    }

    /// One value without further labels.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: usize) {
        self.gauges(name, help, &[(None, value as f64)]);
    }

    /// Values told apart by one label.
    pub(super) fn gauges(&mut self, name: &str, help: &str, values: &[(Label<'_>, f64)]) {
        self.head(name, help, "gauge");
        for (label, value) in values {
            self.sample(name, *label, *value);
        }
    }

    /// A count without further labels.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.counters(name, help, &[(None, value)]);
    }

    /// Counts told apart by one label; the name comes without its `_total`.
    pub(super) fn counters(&mut self, name: &str, help: &str, values: &[(Label<'_>, u64)]) {
        let total = format!("{name}_total");
        self.head(&total, help, "counter");
        for (label, value) in values {
            self.sample(&total, *label, *value as f64);
        }
        let created: Vec<_> = values.iter().map(|(label, _)| (*label, self.created)).collect();
        self.gauges(&format!("{name}_created"), help, &created);
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, help, "histogram");
        let mut sum = 0;
        let bounds = histogram.bounds.iter().copied().chain([f64::INFINITY]);
        for (bound, count) in bounds.zip(&histogram.counts) {
            sum += count;
            let (bound, sum) = (number(bound), number(sum as f64));
            let _ = writeln!(
                self.text,
                "vllm:{name}_bucket{{engine=\"0\",le=\"{bound}\",model_name=\"{}\"}} {sum}",
                self.model
            );
        }
        self.sample(&format!("{name}_count"), None, sum as f64);
        self.sample(&format!("{name}_sum"), None, histogram.sum);
        self.gauges(&format!("{name}_created"), help, &[(None, self.created)]);
    }

    pub(super) fn head(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(self.text, "# HELP vllm:{name} {help}\n# TYPE vllm:{name} {kind}");
    }

    fn sample(&mut self, name: &str, label: Label<'_>, value: f64) {
        let mut labels = vec![("engine", "0"), ("model_name", &self.model)];
        // Admission is decided in front of the engines, so its counts name none.
        if name.starts_with("admission_rejections") {
            labels.remove(0);
        }
        labels.extend(label);
        labels.sort_unstable();
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let _ = writeln!(self.text, "vllm:{name}{{{}}} {}", labels.join(","), number(value));
    }
}

/// A label's name and value, when there is one.
pub(super) type Label<'a> = Option<(&'a str, &'a str)>;

/// A number as the real engine's library writes it: always with a fraction, from a million on with an exponent.
fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    let plain = format!("{value:?}");
    let Some(dot) = plain.find('.').filter(|dot| value > 0.0 && *dot > 6) else { return plain };
    let digits: String = plain.chars().filter(|digit| *digit != '.').collect();
    let (first, rest) = digits.split_at(1);
    let mantissa = format!("{first}.{rest}");
    format!("{}e+{:02}", mantissa.trim_end_matches(['0', '.']), dot - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_as_recorded() {
        assert_eq!(number(17.0), "17.0");
        assert_eq!(number(0.000_717_169_000_495_232_5), "0.0007171690004952325");
        assert_eq!(number(1_795_218_909.529_256), "1.795218909529256e+09");
        assert_eq!(number(999_999.0), "999999.0");
        assert_eq!(number(1_000_000.0), "1e+06");
        assert_eq!(number(f64::INFINITY), "+Inf");
    }

    #[test]
    fn a_value_on_a_bound_belongs_below_it() {
        let mut histogram = Histogram::new(&[1.0, 2.0]);
        for value in [1.0, 1.5, 2.0, 9.0] {
            histogram.observe(value);
        }
        assert_eq!((histogram.counts, histogram.sum), (vec![1, 2, 1], 13.5));
    }
}
