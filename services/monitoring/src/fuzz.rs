//! Fuzz targets: what of this service reads text that anybody may send. `shared::fuzz` says how they are run.

use crate::{
    place::{self, Place, is_time},
    usage::records,
    usage::report,
};
use shared::page;

/// Where a page starts, by a token that was made up: what is read of it can be looked for, and the rest is refused.
pub fn usage_place(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Some(place) = read::<records::Position>(&text) {
        assert!(is_time(place.start));
    }
    if let Some(place) = read::<report::Position>(&text) {
        let texts = [&place.after.model, &place.after.endpoint];
        assert!(is_time(place.end) && texts.iter().all(|text| !text.contains('\0')), "{text}");
    }
}

fn read<P: Place>(last: &str) -> Option<P> {
    let read = place::read::<P>("list", &page::token("list", last));
    read.map_err(|violation| assert_eq!(violation.field, "page_token")).ok().flatten().inspect(|place| {
        let written = place::token("list", place);
        assert!(place::read::<P>("list", &written).is_ok(), "what was read is not what is written: {last}");
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn usage_place() {
        ::tests::fuzz::bounded("usage_place", super::usage_place);
    }
}
