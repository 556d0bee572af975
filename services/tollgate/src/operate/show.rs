//! Tables for people, JSON for programs. What came from elsewhere cannot steer the terminal.

use super::plan::Column;
use serde_json::Value;
use std::io::{self, Write};

/// Longest cell of a table, in characters; JSON is never cut.
const CELL: usize = 60;

/// Prints to standard output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    json: bool,
}

impl Printer {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether it prints for programs.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Rows with a head, aligned; or an array.
    pub(crate) fn table(self, columns: &[Column], rows: &[Value]) -> anyhow::Result<()> {
        if self.json {
            return print(&serde_json::to_string_pretty(rows)?);
        }
        let cells: Vec<Vec<String>> = rows.iter().map(|row| cells(columns, row)).collect();
        let widths: Vec<usize> = columns
            .iter()
            .enumerate()
            .map(|(at, (title, _))| {
                let longest =
                    cells.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
                longest.unwrap_or(0).max(title.len())
            })
            .collect();
        let head: Vec<String> = columns.iter().map(|(title, _)| (*title).to_owned()).collect();
        for row in std::iter::once(&head).chain(&cells) {
            let line: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            print(line.join("  ").trim_end())?;
        }
        Ok(())
    }

    /// The head of a stream of rows.
    pub(crate) fn head(self, columns: &[Column]) -> anyhow::Result<()> {
        if self.json {
            return Ok(());
        }
        print(&columns.iter().map(|(title, _)| *title).collect::<Vec<_>>().join("\t"))
    }

    /// One row of a stream; as JSON, one line.
    pub(crate) fn row(self, columns: &[Column], row: &Value) -> anyhow::Result<()> {
        if self.json {
            return print(&row.to_string());
        }
        print(&cells(columns, row).join("\t"))
    }

    /// One thing, a field to a line; secrets that came beside it, once.
    pub(crate) fn thing(self, thing: &Value, answer: &Value) -> anyhow::Result<()> {
        if self.json {
            return print(&serde_json::to_string_pretty(answer)?);
        }
        if let Value::Object(fields) = thing {
            let width = fields.keys().map(String::len).max().unwrap_or(0);
            for (name, value) in fields {
                print(&format!("{name:<width$}  {}", whole(value)))?;
            }
        }
        if let Some(secret) = answer["secret"].as_str() {
            print(&format!("\nThe secret, shown this once:\n{}", inert(secret)))?;
        }
        Ok(())
    }

    /// A page of lines.
    pub(crate) fn page(self, lines: &[String], answer: &Value) -> anyhow::Result<()> {
        if self.json {
            return print(&serde_json::to_string_pretty(answer)?);
        }
        lines.iter().try_for_each(|line| print(&inert(line)))
    }

    /// Bytes as they are.
    pub(crate) fn raw(self, bytes: &[u8]) -> anyhow::Result<()> {
        match io::stdout().lock().write_all(bytes) {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            result => Ok(result?),
        }
    }

    /// That something was done.
    pub(crate) fn done(self, said: &str, answer: &Value) -> anyhow::Result<()> {
        if self.json { print(&serde_json::to_string_pretty(answer)?) } else { print(said) }
    }
}

fn cells(columns: &[Column], row: &Value) -> Vec<String> {
    columns.iter().map(|(_, path)| short(&at(row, path))).collect()
}

/// The first of several places, separated by `|`, that holds something.
fn at(row: &Value, paths: &str) -> String {
    let value = |path: &str| path.split('.').fold(row, |value, field| &value[field]).clone();
    let found = paths.split('|').map(value).find(|value| !value.is_null());
    found.map(|value| whole(&value)).unwrap_or_default()
}

fn whole(value: &Value) -> String {
    match value {
        Value::String(text) => inert(text),
        Value::Array(items) => items.iter().map(whole).collect::<Vec<_>>().join(", "),
        value => inert(&value.to_string()),
    }
}

fn short(text: &str) -> String {
    if text.chars().count() <= CELL {
        return text.to_owned();
    }
    text.chars().take(CELL - 1).chain(['…']).collect()
}

/// Text without characters that a terminal acts upon.
fn inert(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn print(line: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout().lock(), "{line}") {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_cell_is_found_shortened_and_cannot_steer_the_terminal() {
        let row = json!({"name": "a\u{1b}[31mb", "owner": {"user_id": "u"}, "long": "x".repeat(80), "list": [1, "b"]});
        let columns = [
            ("NAME", "name"),
            ("OWNER", "owner.group_id|owner.user_id"),
            ("LONG", "long"),
            ("LIST", "list"),
            ("NO", "no"),
        ];
        let cells = cells(&columns, &row);
        assert_eq!(cells[0], "a [31mb");
        assert_eq!((cells[1].as_str(), cells[3].as_str(), cells[4].as_str()), ("u", "1, b", ""));
        assert_eq!((cells[2].chars().count(), cells[2].chars().last()), (CELL, Some('…')));
    }
}
