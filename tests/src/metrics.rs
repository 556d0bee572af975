//! Reads a page in Prometheus' text format.

/// The sum of all series of a name whose labels contain a text; 0 when there is none.
#[must_use]
pub fn sum(page: &str, name: &str, label: &str) -> f64 {
    page.lines().filter_map(|line| value(line, name, label)).sum()
}

fn value(line: &str, name: &str, label: &str) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => rest.rsplit_once("} ")?,
        None => ("", rest.strip_prefix(' ')?),
    };
    if labels.contains(label) { value.split(' ').next()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn series_of_one_name_are_added_and_longer_names_are_not() {
        let page = "# TYPE calls counter\ncalls{to=\"a\"} 2\ncalls{to=\"b\"} 3\ncalls_total 9\nplain 4\n";
        assert_eq!((sum(page, "calls", ""), sum(page, "calls", "to=\"b\"")), (5.0, 3.0));
        assert_eq!((sum(page, "plain", ""), sum(page, "absent", "")), (4.0, 0.0));
    }
}
