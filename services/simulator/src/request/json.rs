//! Where and why a body is not JSON, in the words of the parser the real engine uses.
//!
//! Runs only after serde has refused the body; it walks the text again and stops at the first fault.

/// What was expected, and at which character.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) problem: &'static str,
}

/// Finds the fault; `None` when this walk sees none (serde was stricter).
pub(crate) fn fault(text: &str) -> Option<Fault> {
    let mut walk = Walk { chars: text.chars().collect(), at: 0, depth: 0 };
    walk.document().err()
}

/// Where serde stops too; deeper, the walk would exhaust the stack.
const DEEPEST: usize = 128;

struct Walk {
    chars: Vec<char>,
    at: usize,
    /// How many values the walk stands in.
    depth: usize,
}

type Step = Result<(), Fault>;

impl Walk {
    fn document(&mut self) -> Step {
        self.blank();
        self.value()?;
        self.blank();
        if self.at < self.chars.len() { self.fail("Extra data") } else { Ok(()) }
    }

    fn value(&mut self) -> Step {
        if self.depth == DEEPEST {
            return self.fail("Expecting value");
        }
        self.depth += 1;
        match self.peek() {
            Some('{') => self.object(),
            Some('[') => self.array(),
            Some('"') => self.string(),
            Some('-' | '0'..='9') => self.number(),
            _ => self.literal(),
        }?;
        self.depth -= 1;
        Ok(())
    }

    fn object(&mut self) -> Step {
        self.at += 1;
        self.blank();
        if self.eat('}') {
            return Ok(());
        }
        loop {
            if self.peek() != Some('"') {
                return self.fail("Expecting property name enclosed in double quotes");
            }
            self.string()?;
            self.blank();
            if !self.eat(':') {
                return self.fail("Expecting ':' delimiter");
            }
            self.blank();
            self.value()?;
            self.blank();
            if self.eat('}') {
                return Ok(());
            }
            if !self.eat(',') {
                return self.fail("Expecting ',' delimiter");
            }
            self.blank();
        }
    }

    fn array(&mut self) -> Step {
        self.at += 1;
        self.blank();
        if self.eat(']') {
            return Ok(());
        }
        loop {
            self.value()?;
            self.blank();
            if self.eat(']') {
                return Ok(());
            }
            if !self.eat(',') {
                return self.fail("Expecting ',' delimiter");
            }
            self.blank();
        }
    }

    fn string(&mut self) -> Step {
        let start = self.at;
        self.at += 1;
        while let Some(found) = self.peek() {
            match found {
                '"' => {
                    self.at += 1;
                    return Ok(());
                }
                '\\' => self.escape(start)?,
                '\0'..='\x1f' => return self.fail("Invalid control character at"),
                _ => self.at += 1,
            }
        }
        Err(Fault { at: start, problem: "Unterminated string starting at" })
    }

    fn escape(&mut self, start: usize) -> Step {
        match self.chars.get(self.at + 1) {
            None => Err(Fault { at: start, problem: "Unterminated string starting at" }),
            Some('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') => {
                self.at += 2;
                Ok(())
            }
            Some('u') => {
                let digits = self.chars.get(self.at + 2..self.at + 6).unwrap_or_default();
                if digits.len() < 4 || !digits.iter().all(char::is_ascii_hexdigit) {
                    return Err(Fault { at: self.at + 1, problem: "Invalid \\uXXXX escape" });
                }
                self.at += 6;
                Ok(())
            }
            Some(_) => self.fail("Invalid \\escape"),
        }
    }

    fn number(&mut self) -> Step {
        let start = self.at;
        self.eat('-');
        if !self.peek().is_some_and(|found| found.is_ascii_digit()) {
            self.at = start;
            return self.fail("Expecting value");
        }
        if !self.eat('0') {
            self.digits();
        }
        if self.peek() == Some('.') && self.chars.get(self.at + 1).is_some_and(char::is_ascii_digit) {
            self.at += 1;
            self.digits();
        }
        let mark = self.at;
        if self.eat('e') || self.eat('E') {
            let _ = self.eat('+') || self.eat('-');
            if self.digits() == 0 {
                self.at = mark;
            }
        }
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|found| found.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    fn literal(&mut self) -> Step {
        let rest: String = self.chars.iter().skip(self.at).take(5).collect();
        let known = ["true", "false", "null"].into_iter().find(|word| rest.starts_with(word));
        match known {
            Some(word) => self.at += word.len(),
            None => return self.fail("Expecting value"),
        }
        Ok(())
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.at += 1;
        }
    }

    fn fail(&self, problem: &'static str) -> Step {
        Err(Fault { at: self.at, problem })
    }
}

#[cfg(test)]
mod tests {
    use super::{DEEPEST, fault};

    #[test]
    fn faults_are_found_where_the_real_engine_finds_them() {
        let recorded = [
            (r#"{"model": "x",}"#, 14, "Expecting property name enclosed in double quotes"),
            (
                r#"{"messages":[{"role":"user","content":"a"}], }"#,
                45,
                "Expecting property name enclosed in double quotes",
            ),
            (r#"{"a"#, 1, "Unterminated string starting at"),
            ("nope", 0, "Expecting value"),
            (r#"{"a":1}x"#, 7, "Extra data"),
            (r#"{"a" 1}"#, 5, "Expecting ':' delimiter"),
            (r#"{"a":}"#, 5, "Expecting value"),
            ("[1,]", 3, "Expecting value"),
            ("{", 1, "Expecting property name enclosed in double quotes"),
        ];
        for (text, at, problem) in recorded {
            let found = fault(text).map(|fault| (fault.at, fault.problem));
            assert_eq!(found, Some((at, problem)), "{text}");
        }
        assert_eq!(fault(&"[".repeat(1_000_000)).unwrap().at, DEEPEST);
        assert_eq!(fault(r#" {"a": [1, -2.5e3, true, null, "\u00e4\n"]} "#), None);
    }
}
