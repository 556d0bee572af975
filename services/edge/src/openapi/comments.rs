//! What the contract says: the comment that stands before an element of a proto file.

use prost_reflect::FileDescriptor;
use std::collections::HashMap;

/// Comments by file and by place in the file, read once per file.
#[derive(Debug, Default)]
pub(crate) struct Comments(HashMap<String, HashMap<Vec<i32>, String>>);

impl Comments {
    /// The comment of one element, or the empty string.
    pub(crate) fn of(&mut self, file: &FileDescriptor, path: &[i32]) -> String {
        let places = self.0.entry(file.name().to_owned()).or_insert_with(|| read(file));
        places.get(path).cloned().unwrap_or_default()
    }
}

fn read(file: &FileDescriptor) -> HashMap<Vec<i32>, String> {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let locations = info.map(|info| info.location.as_slice()).unwrap_or_default();
    locations
        .iter()
        .filter_map(|place| Some((place.path.clone(), unwrap_lines(place.leading_comments.as_deref()?))))
        .collect()
}

/// One space comes after each `//`; the rest of a line is kept.
fn unwrap_lines(comment: &str) -> String {
    let lines: Vec<_> =
        comment.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect();
    lines.join("\n").trim().to_owned()
}
