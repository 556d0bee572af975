//! Path templates of `google.api.http`: literals, `{field}` and a `:verb` at the end.

use crate::error::Rejection;

/// A path with holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    segments: Vec<Segment>,
    verb: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Variable(String),
}

impl Template {
    /// Reads a template; `None` when it has wildcards or is no path.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (path, verb) = split_verb(text.strip_prefix('/')?);
        let segments = path.split('/').map(Segment::parse).collect::<Option<_>>()?;
        Some(Self { segments, verb: verb.map(str::to_owned) })
    }

    /// What stands in the holes, still encoded; `None` when the path is another.
    pub(crate) fn matches<'t, 'p>(&'t self, path: &'p str) -> Option<Vec<(&'t str, &'p str)>> {
        let path = path.strip_prefix('/')?;
        let path = match &self.verb {
            Some(verb) => path.strip_suffix(verb.as_str())?.strip_suffix(':')?,
            None => path,
        };
        let mut captures = Vec::new();
        let mut given = path.split('/');
        for segment in &self.segments {
            match (segment, given.next()?) {
                (Segment::Literal(literal), text) if literal == text => {}
                (Segment::Variable(field), text) if !text.is_empty() => captures.push((field.as_str(), text)),
                _ => return None,
            }
        }
        given.next().is_none().then_some(captures)
    }

    /// The fields that the path binds.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Variable(field) => Some(field.as_str()),
            Segment::Literal(_) => None,
        })
    }

    /// Whether the path names a file of this kind.
    pub(crate) fn is_file(&self, kind: &str) -> bool {
        let named = |text: &str| text.rsplit_once('.').is_some_and(|(_, ending)| ending == kind);
        self.verb.is_none() && matches!(self.segments.last(), Some(Segment::Literal(text)) if named(text))
    }

    /// Orders templates so that the first that matches is the most exact.
    pub(crate) fn looseness(&self) -> (usize, bool) {
        (self.variables().count(), self.verb.is_none())
    }
}

impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Literal(text) => write!(f, "/{text}")?,
                Segment::Variable(field) => write!(f, "/{{{field}}}")?,
            }
        }
        self.verb.iter().try_for_each(|verb| write!(f, ":{verb}"))
    }
}

impl Segment {
    fn parse(text: &str) -> Option<Self> {
        let field = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        match field.map(|field| field.strip_suffix("=*").unwrap_or(field)) {
            Some(field) if is_field_path(field) => Some(Self::Variable(field.to_owned())),
            None if !text.is_empty() && !text.contains(['{', '}', '*']) => {
                Some(Self::Literal(text.to_owned()))
            }
            _ => None,
        }
    }
}

fn is_field_path(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
}

fn split_verb(path: &str) -> (&str, Option<&str>) {
    match path.rsplit_once(':') {
        Some((path, verb)) if !verb.contains(['/', '}']) => (path, Some(verb)),
        _ => (path, None),
    }
}

/// Decodes percent-encoding, and in queries `+`; anything that is not UTF-8 then is refused.
pub(crate) fn decode(text: &str, in_query: bool) -> Result<String, Rejection> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let (high, low) = (hex(rest.next()), hex(rest.next()));
                let pair =
                    high.zip(low).ok_or(Rejection::Url("a % is not followed by two hexadecimal digits"))?;
                pair.0 * 16 + pair.1
            }
            b'+' if in_query => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| Rejection::Url("it does not decode to UTF-8"))
}

fn hex(byte: Option<u8>) -> Option<u8> {
    u8::try_from(char::from(byte?).to_digit(16)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captures(template: &str, path: &str) -> Option<Vec<(String, String)>> {
        let template = Template::parse(template).unwrap();
        let found = template.matches(path)?;
        Some(found.into_iter().map(|(field, text)| (field.to_owned(), text.to_owned())).collect())
    }

    #[test]
    fn a_path_matches_its_template_alone() {
        let found = |field: &str, text: &str| Some(vec![(field.to_owned(), text.to_owned())]);
        assert_eq!(captures("/api/v1/users", "/api/v1/users"), Some(vec![]));
        assert_eq!(captures("/api/v1/users", "/api/v1/users/"), None);
        assert_eq!(captures("/api/v1/users/{user_id}", "/api/v1/users/7"), found("user_id", "7"));
        assert_eq!(captures("/api/v1/users/{user_id}", "/api/v1/users/"), None);
        assert_eq!(captures("/api/v1/users/{user_id}", "/api/v1/users/7/keys"), None);
        assert_eq!(captures("/groups/{a.b}/members:remove", "/groups/x/members:remove"), found("a.b", "x"));
        assert_eq!(captures("/groups/{a.b}/members:remove", "/groups/x/members"), None);
        assert_eq!(captures("/models/{name=*}:pause", "/models/qwen:7b:pause"), found("name", "qwen:7b"));
        assert_eq!(captures("/permissions:check", "/permissions:check"), Some(vec![]));
    }

    #[test]
    fn a_path_that_ends_in_a_file_is_told_by_its_last_part() {
        for (path, is_file) in
            [("/a/keys.json", true), ("/a.json/b", false), ("/a/{b}", false), ("/json", false)]
        {
            assert_eq!(Template::parse(path).unwrap().is_file("json"), is_file, "{path}");
        }
    }

    #[test]
    fn a_template_is_written_as_it_was_read_and_wildcards_are_refused() {
        for text in ["/api/v1/users/{user_id}", "/a/{b.c}/d:verb", "/permissions:check"] {
            assert_eq!(Template::parse(text).unwrap().to_string(), text);
        }
        for text in ["/a/*", "/a/{b=**}", "/a/{b=c/*}", "a", "/a//b", "/{}"] {
            assert_eq!(Template::parse(text), None, "{text}");
        }
    }

    #[test]
    fn percent_encoding_is_decoded_strictly() {
        assert_eq!(decode("a%20b+c", false).unwrap(), "a b+c");
        assert_eq!(decode("a%20b+c", true).unwrap(), "a b c");
        assert_eq!(decode("%C3%A4%2F", false).unwrap(), "ä/");
        for bad in ["%", "%2", "%zz", "%ff", "%+1"] {
            assert!(decode(bad, false).is_err(), "{bad}");
        }
    }
}
