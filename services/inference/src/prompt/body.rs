//! The body as bytes: how deep it is, where a value stands in it, and the same with a value changed.

use super::Options;
use bytes::{Bytes, BytesMut};
use serde_json::value::RawValue;

/// Deepest nesting that is passed on; engines answer far deeper ones with an error of their own making.
pub(super) const MAX_DEPTH: usize = 128;

/// Whether brackets are nested too deep. Most bodies have too few of them for that and are not looked at twice.
pub(super) fn too_deep(body: &[u8]) -> bool {
    if memchr::memchr2_iter(b'{', b'[', body).nth(MAX_DEPTH).is_none() {
        return false;
    }
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// Where a raw value stands in the body it was read from.
pub(super) fn position(body: &Bytes, raw: &RawValue) -> std::ops::Range<usize> {
    let start = raw.get().as_ptr() as usize - body.as_ptr() as usize;
    start..start + raw.get().len()
}

pub(super) fn ask_for_usage(
    body: &Bytes,
    stands: Option<std::ops::Range<usize>>,
    options: &Options<'_>,
) -> Bytes {
    let mut wanted = String::from(r#"{"include_usage":true"#);
    for (name, value) in &options.others {
        wanted.push(',');
        wanted.push_str(&serde_json::Value::from(name.as_ref()).to_string());
        wanted.push(':');
        wanted.push_str(value.get());
    }
    wanted.push('}');
    match stands {
        Some(stands) => replaced(body, stands, &wanted),
        None => with_field(body, "stream_options", &wanted),
    }
}

/// The body with something else in the place of a value.
pub(super) fn replaced(body: &Bytes, stands: std::ops::Range<usize>, value: &str) -> Bytes {
    let mut other = BytesMut::with_capacity(body.len() + value.len());
    other.extend_from_slice(&body[..stands.start]);
    other.extend_from_slice(value.as_bytes());
    other.extend_from_slice(&body[stands.end..]);
    other.freeze()
}

/// The body with one more field. It is an object with at least `model` in it, so a comma after the field is in place.
pub(super) fn with_field(body: &Bytes, name: &str, value: &str) -> Bytes {
    let brace = body.iter().position(|&byte| byte == b'{').map_or(0, |at| at + 1);
    let mut more = BytesMut::with_capacity(body.len() + name.len() + value.len() + 4);
    more.extend_from_slice(&body[..brace]);
    for part in ["\"", name, "\":", value, ","] {
        more.extend_from_slice(part.as_bytes());
    }
    more.extend_from_slice(&body[brace..]);
    more.freeze()
}

/// The body without the field whose value stands there.
pub(super) fn without_field(body: &Bytes, stands: std::ops::Range<usize>) -> Bytes {
    // Before a value there are a colon and its name, which has no quotes inside: both were read as JSON.
    let quote = |until: usize| body[..until].iter().rposition(|&byte| byte == b'"').unwrap_or(0);
    let name = quote(quote(stands.start));
    let before = body[..name].iter().rposition(|byte| !byte.is_ascii_whitespace()).unwrap_or(0);
    let after = stands.end + body[stands.end..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let (start, end) = match (body.get(before), body.get(after)) {
        (Some(b','), _) => (before, stands.end),
        (_, Some(b',')) => (name, after + 1),
        _ => (name, stands.end),
    };
    let mut less = BytesMut::with_capacity(body.len());
    less.extend_from_slice(&body[..start]);
    less.extend_from_slice(&body[end..]);
    less.freeze()
}
