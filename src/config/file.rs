//! The file as a whole: its text, its tables, and the place of what is wrong with it.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use toml::de::{DeTable, DeValue};

use super::{
    AlarmLimits, Config, ConfigError, Control, FaceLimits, Metrics, Mode, ModelFiles, Recognition,
    RosterRules, Site, Storage, Upstream,
    lane::{LaneTable, lanes},
    syntax, typed, upstream,
    value::{Checked, wrong},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    site: Site,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    storage: Storage,
    #[serde(default)]
    models: ModelFiles,
    #[serde(default)]
    roster: RosterRules,
    #[serde(default)]
    enrolment: FaceLimits,
    #[serde(default)]
    recognition: Recognition,
    #[serde(default)]
    lane: Vec<LaneTable>,
    #[serde(default)]
    upstream: Vec<Upstream>,
    #[serde(default)]
    control: Control,
    #[serde(default)]
    metrics: Metrics,
    #[serde(default)]
    alarms: AlarmLimits,
}

/// What the values alone do not say: which keys were given, and the folder of the file.
pub(super) struct Written<'a> {
    tree: &'a DeTable<'a>,
    pub(super) base: &'a Path,
}

impl Written<'_> {
    /// Whether a key such as `lane[0].turnstile.port` stands in the file.
    pub(super) fn has(&self, key: &str) -> bool {
        place(self.tree, key).1
    }

    /// Relative paths begin at the folder of the file.
    pub(super) fn absolute(&self, path: &mut PathBuf) {
        *path = self.base.join(&path);
    }
}

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
    let tree = tree.get_ref();
    let file: File = toml::de::Deserializer::parse(text).map_err(no_toml).and_then(|d| {
        serde_path_to_error::deserialize(d).map_err(|e| {
            let path = e.path().to_string();
            let at = e.inner().span().map_or(0, |span| span.start).max(place(tree, &path).0);
            let (key, message) = typed::explain(&path, e.inner().message());
            located(at, key, message)
        })
    })?;
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

pub(super) fn one_line(message: &str) -> String {
    message.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// The line of a key in the text of a file.
pub(super) fn line(text: &str, key: &str) -> usize {
    let text = syntax::decode(text.as_bytes()).unwrap_or(text);
    DeTable::parse(text).map_or(1, |tree| line_at(text, place(tree.get_ref(), key).0))
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count()
}

/// Where a key such as `lane[0].turnstile.port` stands, or the nearest table around it, and whether it
/// is the key itself.
fn place(tree: &DeTable<'_>, key: &str) -> (usize, bool) {
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
