//! A secret of the configuration: in plain text, or as `file:PATH` or `credential:NAME`.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny},
};
use zeroize::Zeroizing;

/// A secret, which is never printed. `Debug` and messages show its source, not its value.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    Plain(Zeroizing<String>),
    File(PathBuf),
    /// A systemd credential, found in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// The unit's `LoadCredential=`: a file `NAME` in this folder is the credential `secret_NAME`.
const FOLDER: &str = "/etc/gatehouse/secrets";
const FROM_FOLDER: &str = "secret_";

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read the secret {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error(
        "credential {0} is not there: put it into a file in {FOLDER} and name it \
         credential:{FROM_FOLDER}FILE, or add LoadCredential={0}:PATH to the unit"
    )]
    NoCredential(String),
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        if let Some(path) = text.strip_prefix("file:") {
            Secret::File(path.into())
        } else if let Some(name) = text.strip_prefix("credential:") {
            Secret::Credential(name.to_owned())
        } else {
            Secret::Plain(Zeroizing::new(text))
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Found {
            Text(String),
            Other(IgnoredAny),
        }
        match Found::deserialize(from)? {
            Found::Text(text) => Ok(text.into()),
            // serde's own error would show the value.
            Found::Other(_) => {
                Err(D::Error::custom("must be text in quotes: file:PATH or credential:NAME"))
            }
        }
    }
}

impl Secret {
    /// Reads a secret that must not be in the configuration itself.
    pub(super) fn kept_apart<'de, D, S>(from: D) -> Result<S, D::Error>
    where
        D: Deserializer<'de>,
        S: From<Secret>,
    {
        match Secret::deserialize(from)? {
            Secret::Plain(_) => {
                Err(D::Error::custom("give file:PATH or credential:NAME, never the key itself"))
            }
            secret => Ok(secret.into()),
        }
    }

    /// Makes the path of a `file:` absolute. A relative path starts at this folder.
    pub(super) fn begin_at(&mut self, base: &Path) {
        if let Secret::File(path) = self {
            *path = base.join(&path);
        }
    }

    /// Returns the secret's file; `None` for a plain secret.
    pub fn path(&self) -> Result<Option<PathBuf>, SecretError> {
        match self {
            Secret::Plain(_) => Ok(None),
            Secret::File(path) => Ok(Some(path.clone())),
            Secret::Credential(name) => {
                Ok(Some(credential(name, std::env::var_os("CREDENTIALS_DIRECTORY"))?))
            }
        }
    }

    /// Returns the secret as text, without the line break that editors write at a file's end.
    pub fn read(&self) -> Result<Zeroizing<String>, SecretError> {
        let Some(path) = self.path()? else {
            let Secret::Plain(text) = self else { return Ok(Zeroizing::default()) };
            return Ok(text.clone());
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let text = Zeroizing::new(text);
                Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
            }
            Err(source) => Err(SecretError::Unreadable { path, source }),
        }
    }
}

/// Returns the file of a credential. `given` is systemd's folder. Outside the unit, such as in
/// `gatehouse check`, the result is the file that the unit loads.
fn credential(name: &str, given: Option<OsString>) -> Result<PathBuf, SecretError> {
    let folder = || Some(Path::new(FOLDER).join(name.strip_prefix(FROM_FOLDER)?));
    let found = given.map(|dir| Path::new(&dir).join(name)).or_else(folder);
    found.ok_or_else(|| SecretError::NoCredential(name.to_owned()))
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Secret::Plain(_) => f.write_str("Secret(***)"),
            Secret::File(path) => write!(f, "Secret(file:{})", path.display()),
            Secret::Credential(name) => write!(f, "Secret(credential:{name})"),
        }
    }
}

#[cfg(test)]
mod tests;
