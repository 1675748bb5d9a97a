//! The written file: which keys it has, and where.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

/// Facts that the values do not hold: the keys that were given, and the folder of the file.
pub(super) struct Written<'a> {
    pub(super) tree: &'a DeTable<'a>,
    pub(super) base: &'a Path,
}

impl Written<'_> {
    /// Returns whether the file has a key such as `lane[0].turnstile.port`.
    pub(super) fn has(&self, key: &str) -> bool {
        place(self.tree, key).1
    }

    /// Makes a path absolute. A relative path starts at the folder of the file.
    pub(super) fn absolute(&self, path: &mut PathBuf) {
        *path = self.base.join(&path);
    }
}

pub(super) fn one_line(message: &str) -> String {
    message.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Returns the offset of a key such as `lane[0].turnstile.port`, and true. If the key is missing,
/// it returns the offset of the nearest table around it, and false.
pub(super) fn place(tree: &DeTable<'_>, key: &str) -> (usize, bool) {
    let mut at = 0;
    let mut table = Some(tree);
    for segment in key.split('.') {
        let (name, index) = match segment.split_once('[') {
            Some((name, rest)) => (name, rest.trim_end_matches(']').parse::<usize>().ok()),
            None => (segment, None),
        };
        let found = table.and_then(|table| table.iter().find(|(k, _)| k.get_ref() == name));
        let Some((key, value)) = found else { return (at, false) };
        at = key.span().start;
        let mut value = value.get_ref();
        if let Some(index) = index {
            let item = value.as_array().and_then(|items| items.get(index));
            let Some(item) = item else { return (at, false) };
            (at, value) = (item.span().start, item.get_ref());
        }
        table = match value {
            DeValue::Table(inner) => Some(inner),
            _ => None,
        };
    }
    (at, true)
}
