//! Reads the whole file: its text, its tables, and the place of each fault.

use std::path::Path;

use sha2::{Digest, Sha256};
use toml::de::{DeTable, DeValue};

use super::{
    Config, ConfigError,
    lane::lanes,
    syntax, typed, upstream,
    value::{Checked, wrong},
    written::{Written, place},
};

/// Reads the bytes of a file: UTF-8, with or without a byte order mark.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Config, ConfigError> {
    let (file, sha256) = (path.to_owned(), Sha256::digest(bytes).into());
    match read(path, bytes) {
        Ok(config) => Ok(Config { path: file, sha256, ..config }),
        Err((line, key, message)) => Err(ConfigError::Wrong { path: file, line, key, message }),
    }
}

/// A fault: the line, the key, and the words.
type Located = (usize, String, String);

fn read(path: &Path, bytes: &[u8]) -> Result<Config, Located> {
    let no_text = |(line, message)| (line, "encoding".to_owned(), message);
    let text = syntax::decode(bytes).map_err(no_text)?;
    let no_toml = |error: toml::de::Error| {
        let (line, message) = syntax::explain(text, &error);
        (line, "syntax".to_owned(), message)
    };
    let tree = DeTable::parse(text).map_err(no_toml)?;
    let mut common = tree.clone();
    let tree = tree.get_ref();
    let own = upstream::take_own_keys(common.get_mut());
    let common = toml::de::Deserializer::from(common);
    let mut config: Config = serde_path_to_error::deserialize(common).map_err(|e| {
        let path = e.path().to_string();
        let at = e.inner().span().map_or(0, |span| span.start).max(place(tree, &path).0);
        let (key, message) = typed::explain(&path, e.inner().message());
        (line_at(text, at), key, message)
    })?;
    config.upstreams.iter_mut().zip(own).for_each(|(upstream, own)| upstream.own = own);
    let base = path.parent().unwrap_or(Path::new(""));
    let base = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
    complete(&mut config, &Written { tree, base: &base })
        .and_then(|()| escaped_by_mistake(tree, ""))
        .map_err(|w| (line_at(text, place(tree, &w.key).0), w.key, w.message))?;
    Ok(config)
}

/// Fills in and checks the values that depend on several keys.
fn complete(config: &mut Config, written: &Written<'_>) -> Checked<()> {
    config.site.complete(written);
    config.storage.complete(written);
    config.models.complete(written);
    if !written.has("enrolment.min_face_px") {
        config.enrolment.min_face_px = config.recognition.min_face_px;
    }
    if let Some(key) = &mut config.roster.qr_key {
        key.begin_at(written.base);
    }
    upstream::complete(&mut config.upstreams, config.storage.photo_keep_days > 0, written)?;
    written.absolute(&mut config.control.socket);
    config.lanes = lanes(std::mem::take(&mut config.lane_tables), config.mode, written)?;
    Ok(())
}

/// Refuses values with control characters. A Windows path in double quotes may contain some.
fn escaped_by_mistake(table: &DeTable<'_>, at: &str) -> Checked<()> {
    table.iter().try_for_each(|(name, value)| {
        let dot = if at.is_empty() { "" } else { "." };
        in_value(value.get_ref(), &format!("{at}{dot}{}", name.get_ref()))
    })
}

fn in_value(value: &DeValue<'_>, key: &str) -> Checked<()> {
    match value {
        DeValue::String(text) => match syntax::escaped_by_mistake(text) {
            Some(message) => wrong(key, message),
            None => Ok(()),
        },
        DeValue::Table(inner) => escaped_by_mistake(inner, key),
        DeValue::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(n, item)| in_value(item.get_ref(), &format!("{key}[{n}]"))),
        _ => Ok(()),
    }
}

/// Returns the line of a key in the text of a file.
pub(super) fn line(text: &str, key: &str) -> usize {
    let text = syntax::decode(text.as_bytes()).unwrap_or(text);
    DeTable::parse(text).map_or(1, |tree| line_at(text, place(tree.get_ref(), key).0))
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count()
}
