//! Whether what is uploaded can be lines of JSON at all, seen as it comes. Whether each line is a request is seen when
//! a batch reads it.

use crate::error::{Error, Kept};

/// What was seen of a file so far.
#[derive(Debug)]
pub(super) struct Check {
    longest: usize,
    most: u32,
    /// The line at hand, from 1.
    line: u32,
    /// Its bytes so far, without the spaces before them.
    length: usize,
    /// The beginning of a character whose end is to come.
    part: Vec<u8>,
}

impl Check {
    pub(super) const fn new(longest: usize, most: u32) -> Self {
        Self { longest, most, line: 1, length: 0, part: Vec::new() }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.text(bytes)?;
        for &byte in bytes {
            match byte {
                b'\n' => {
                    self.line += u32::from(self.line < u32::MAX);
                    self.length = 0;
                }
                b' ' | b'\t' | b'\r' if self.length == 0 => {}
                0 => return Err(self.bad("has a NUL character")),
                _ if self.length == 0 && byte != b'{' => return Err(self.bad("is not a JSON object")),
                _ => self.length += 1,
            }
            if self.length == 1 && self.line > self.most {
                let problem = format!("it has more than {} lines; split it", self.most);
                return Err(Kept::BadFile { problem }.into());
            }
            if self.length > self.longest {
                return Err(self.bad(&format!("is longer than {} bytes", self.longest)));
            }
        }
        Ok(())
    }

    pub(super) fn end(self) -> Result<(), Error> {
        if !self.part.is_empty() {
            return Err(self.bad("is not UTF-8"));
        }
        if self.line == 1 && self.length == 0 {
            return Err(Kept::BadFile { problem: "it is empty".to_owned() }.into());
        }
        Ok(())
    }

    fn text(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let joined;
        let bytes = if self.part.is_empty() {
            bytes
        } else {
            self.part.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.part);
            &joined
        };
        match std::str::from_utf8(bytes) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_none() => {
                self.part = bytes[error.valid_up_to()..].to_vec();
                Ok(())
            }
            Err(_) => Err(self.bad("or one after it is not UTF-8")),
        }
    }

    fn bad(&self, what: &str) -> Error {
        Kept::BadFile { problem: format!("line {} {what}", self.line) }.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(parts: &[&[u8]]) -> Result<(), String> {
        let mut check = Check::new(20, 3);
        let fed = parts.iter().try_for_each(|part| check.feed(part));
        fed.and_then(|()| check.end()).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_of_objects_pass_however_they_are_cut() {
        for good in [&[&b"{}\n{\"a\":1}\n"[..]][..], &[b"{\"a\":\"\xc3", b"\xa9\"}"], &[b"\n\r\n {", b"}"]] {
            assert_eq!(seen(good), Ok(()));
        }
    }

    #[test]
    fn what_cannot_be_such_lines_is_told_where_it_is_not() {
        for (bad, said) in [
            (&[&b""[..]][..], "it is empty"),
            (&[b"{}\n[1]"], "line 2 is not a JSON object"),
            (&[b"{}\n{\"a\":\"12345678901234567\"}"], "line 2 is longer than 20 bytes"),
            (&[b"{}\n{}\n{}\n{}"], "it has more than 3 lines"),
            (&[b"{\"\xff\"}"], "not UTF-8"),
            (&[b"{\"\xc3"], "line 1 is not UTF-8"),
            (&[b"{\0}"], "line 1 has a NUL"),
        ] {
            let error = seen(bad).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
