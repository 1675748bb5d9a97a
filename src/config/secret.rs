//! A secret given in the configuration: in plain, or as `file:PATH` or `credential:NAME`.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Never printed: `Debug` and every message show where it comes from, not what it is.
#[derive(Clone)]
pub enum Secret {
    Plain(Zeroizing<String>),
    File(PathBuf),
    /// A systemd credential, found in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read the secret {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error(
        "credential {0} is not there: add LoadCredential={0}:PATH to the unit, or give file:PATH"
    )]
    NoCredential(String),
}

impl Secret {
    /// `base`: the folder that a relative `file:` path starts from.
    pub(super) fn parse(text: &str, base: &Path) -> Secret {
        if let Some(path) = text.strip_prefix("file:") {
            Secret::File(base.join(path))
        } else if let Some(name) = text.strip_prefix("credential:") {
            Secret::Credential(name.to_owned())
        } else {
            Secret::Plain(Zeroizing::new(text.to_owned()))
        }
    }

    /// The file behind it, where there is one.
    pub fn path(&self) -> Result<Option<PathBuf>, SecretError> {
        match self {
            Secret::Plain(_) => Ok(None),
            Secret::File(path) => Ok(Some(path.clone())),
            Secret::Credential(name) => std::env::var_os("CREDENTIALS_DIRECTORY")
                .map(|dir| Some(Path::new(&dir).join(name)))
                .ok_or_else(|| SecretError::NoCredential(name.clone())),
        }
    }

    /// The secret as text, without the line break that editors leave at a file's end.
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

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Secret::Plain(_) => f.write_str("Secret(***)"),
            Secret::File(path) => write!(f, "Secret(file:{})", path.display()),
            Secret::Credential(name) => write!(f, "Secret(credential:{name})"),
        }
    }
}
