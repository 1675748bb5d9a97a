//! The file as a whole: its text, its tables, and the place of what is wrong with it.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use toml::de::{DeTable, DeValue};

use super::{
    Config, ConfigError,
    lane::lanes,
    syntax,
    tables::File,
    typed, upstream,
    value::{Checked, wrong},
    written::{Written, place},
};

/// Reads the bytes of a file. UTF-8, with a byte order mark before it or without.
pub(super) fn parse_bytes(path: &Path, bytes: &[u8]) -> Result<Config, ConfigError> {
    let text = syntax::decode(bytes).map_err(|(line, message)| ConfigError::Wrong {
        path: path.to_owned(),
        line,
        key: "encoding".to_owned(),
        message,
    })?;
    Ok(Config { sha256: Sha256::digest(bytes).into(), ..parse(path, text)? })
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let located = |at, key, message| ConfigError::Wrong {
        path: path.to_owned(),
        line: line_at(text, at),
        key,
        message,
    };
    let no_toml = |e: toml::de::Error| {
        let (line, message) = syntax::explain(text, &e);
        ConfigError::Wrong { path: path.to_owned(), line, key: "syntax".to_owned(), message }
    };
    let tree = DeTable::parse(text).map_err(no_toml)?;
    let mut common = tree.clone();
    let tree = tree.get_ref();
    let own = upstream::take_own_keys(common.get_mut());
    let common = toml::de::Deserializer::from(common);
    let mut file: File = serde_path_to_error::deserialize(common).map_err(|e| {
        let path = e.path().to_string();
        let at = e.inner().span().map_or(0, |span| span.start).max(place(tree, &path).0);
        let (key, message) = typed::explain(&path, e.inner().message());
        located(at, key, message)
    })?;
    file.upstream.iter_mut().zip(own).for_each(|(upstream, own)| upstream.own = own);
    let base = path.parent().unwrap_or(Path::new(""));
    let base = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
    let config = file.complete(&Written { tree, base: &base }).and_then(|config| {
        escaped_by_mistake(tree, "")?;
        Ok(config)
    });
    let config = config.map_err(|w| located(place(tree, &w.key).0, w.key, w.message))?;
    let sha256 = Sha256::digest(text.as_bytes()).into();
    Ok(Config { path: path.to_owned(), sha256, ..config })
}

impl File {
    /// Fills in what depends on several keys, and checks it.
    fn complete(mut self, written: &Written<'_>) -> Checked<Config> {
        self.site.complete(written);
        self.storage.complete(written);
        self.models.complete(written);
        self.recognition.check()?;
        if !written.has("enrolment.min_face_px") {
            self.enrolment.min_face_px = self.recognition.min_face_px;
        }
        self.enrolment.check()?;
        upstream::complete(&mut self.upstream, written)?;
        written.absolute(&mut self.control.socket);
        Ok(Config {
            path: PathBuf::new(),
            sha256: [0; 32],
            lanes: lanes(self.lane, self.mode, written)?,
            site: self.site,
            mode: self.mode,
            storage: self.storage,
            models: self.models,
            roster: self.roster,
            enrolment: self.enrolment,
            recognition: self.recognition,
            upstreams: self.upstream,
            control: self.control,
            metrics: self.metrics,
            alarms: self.alarms,
        })
    }
}

/// No value has a use for a control character. A path of Windows in double quotes gets some.
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

/// The line of a key in the text of a file.
pub(super) fn line(text: &str, key: &str) -> usize {
    let text = syntax::decode(text.as_bytes()).unwrap_or(text);
    DeTable::parse(text).map_or(1, |tree| line_at(text, place(tree.get_ref(), key).0))
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count()
}
