//! Prints the shipped rules as a rule file of Prometheus: what `helm/rules.yml` holds.

use std::io::Write as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    std::io::stdout().write_all(alerts::export(&alerts::defaults()?).as_bytes())?;
    Ok(())
}
