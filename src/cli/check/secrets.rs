//! Checks that only root and the daemon can read the configuration and its secrets.

use std::{os::unix::fs::MetadataExt, path::Path};

use super::Lines;
use crate::config::{Config, Mode, Secret, SignerKey};

/// Who besides root and the daemon may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readers {
    None,
    /// The members of its group, who may enroll workers and open gates.
    Group,
    All,
}

fn readers(path: &Path) -> Result<Readers, String> {
    let mode = std::fs::metadata(path).map_err(|e| format!("{}: {e}", path.display()))?.mode();
    Ok(match mode {
        mode if mode & 0o007 != 0 => Readers::All,
        mode if mode & 0o070 != 0 => Readers::Group,
        _ => Readers::None,
    })
}

/// Returns every secret of cameras and upstreams, with its name in the lines of `check`.
fn secrets(config: &Config) -> Vec<(String, Secret)> {
    let mut all = Vec::new();
    for lane in &config.lanes {
        for camera in &lane.cameras {
            if let Some(login) = camera.source.login() {
                let name = format!("password of camera {}/{}", lane.name, camera.direction);
                all.push((name, login.password.clone()));
            }
        }
    }
    all.extend(config.roster.qr_key.clone().map(|key| ("roster.qr_key".to_owned(), key)));
    for upstream in &config.upstreams {
        let command_key = match &upstream.command_key {
            Some(SignerKey::Hmac(secret)) => Some(secret),
            Some(SignerKey::Ed25519(_)) | None => None,
        };
        let (password, key) = (upstream.password.as_ref(), upstream.key.as_ref());
        for (of, secret) in [("password", password), ("key", key), ("command_key", command_key)] {
            let secret = secret.cloned();
            all.extend(secret.map(|secret| (format!("{of} of {}", upstream.name), secret)));
        }
        for (of, secret) in upstream.own.secrets() {
            all.push((format!("{of} of {}", upstream.name), secret));
        }
    }
    all
}

pub(super) fn check(lines: &mut Lines, config: &Config) {
    let secrets = secrets(config);
    let mut plain = Vec::new();
    for (name, secret) in &secrets {
        let name = name.clone();
        match secret {
            Secret::Plain(text) if text.is_empty() => {}
            Secret::Plain(_) => plain.push(name),
            _ => match kept_apart(secret) {
                Ok(None) => {}
                Ok(Some((Readers::All, problem))) => lines.add(name, Err(problem)),
                Ok(Some((_, problem))) => lines.warn(name, problem),
                Err(problem) => lines.add(name, Err(problem)),
            },
        }
    }
    let (check, path) = ("readers of the configuration", config.path.display());
    let holds = if plain.is_empty() { "" } else { ", and it holds passwords" };
    let remedy = format!("run chmod go= {path}, and chown gatehouse {path}");
    match readers(&config.path) {
        Ok(Readers::All) if !plain.is_empty() => {
            let problem = format!("every user of this machine can read {path}{holds}: {remedy}");
            lines.add(check, Err(problem));
        }
        Ok(Readers::Group) if !plain.is_empty() => {
            lines.warn(check, format!("its group can read {path}{holds}: {remedy}"));
        }
        Ok(Readers::All | Readers::Group) if config.mode == Mode::Field => {
            let problem = format!("other users than root and the daemon can read {path}: {remedy}");
            lines.warn(check, problem);
        }
        Ok(_) => {}
        Err(problem) => lines.add(check, Err(problem)),
    }
    if !plain.is_empty() {
        let problem = format!(
            "{} is written in the configuration: put each into a file of /etc/gatehouse/secrets, and \
             give password = \"credential:secret_FILE\"",
            plain.join(", ")
        );
        lines.warn("secrets", problem);
    }
}

/// Returns who else may read the file of a secret, and the remedy. Returns an error if the secret
/// cannot be read.
fn kept_apart(secret: &Secret) -> Result<Option<(Readers, String)>, String> {
    secret.read().map_err(|e| e.to_string())?;
    // systemd protects credentials.
    let Secret::File(path) = secret else { return Ok(None) };
    let shown = path.display();
    Ok(match readers(path)? {
        Readers::None => None,
        who @ Readers::Group => {
            Some((who, format!("its group can read {shown}: run chmod go= {shown}")))
        }
        who @ Readers::All => {
            let problem =
                format!("every user of this machine can read {shown}: run chmod go= {shown}");
            Some((who, problem))
        }
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn allow(path: &Path, text: &str, mode: u32) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_secret_that_others_may_read_is_told_without_the_secret() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pw");
        let kept = Secret::File(file.clone());
        for (mode, expected) in [
            (0o600, Readers::None),
            (0o640, Readers::Group),
            (0o644, Readers::All),
            (0o604, Readers::All),
        ] {
            allow(&file, "hunter2", mode);
            let told = kept_apart(&kept).unwrap();
            assert_eq!(told.as_ref().map_or(Readers::None, |told| told.0), expected);
            let words = told.map_or_else(String::new, |told| told.1);
            assert!(!words.contains("hunter2"), "{words}");
            assert_eq!(words.contains("chmod go= "), expected != Readers::None, "{words}");
        }
        let missing = kept_apart(&Secret::File(dir.path().join("none"))).unwrap_err();
        assert!(missing.contains("cannot read the secret"), "{missing}");
    }

    #[test]
    fn a_configuration_that_others_may_read_fails_if_it_holds_a_password() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("g.toml");
        let told = |source: &str, mode| {
            let text = format!(
                "[site]\nproject_code = \"P\"\n[[lane]]\nname = \"north\"\n[lane.turnstile]\n\
                 driver = \"eb\"\nport = \"/dev/ttyS0\"\n[[lane.camera]]\ndirection = \"entry\"\n\
                 {source}\n"
            );
            allow(&path, &text, mode);
            let mut lines = Lines::default();
            check(&mut lines, &Config::load(&path).unwrap());
            let words = |l: &super::super::Line| {
                assert!(!l.detail.contains("hunter2"), "{}", l.detail);
                (l.check.clone(), l.ok)
            };
            lines.0.iter().map(words).collect::<Vec<_>>()
        };
        let readers = |ok| ("readers of the configuration".to_owned(), ok);
        let none = "source = \"http://10.0.0.9/cam\"";
        let plain = "source = \"http://gate:hunter2@10.0.0.9/cam\"";
        let secrets = || ("secrets".to_owned(), true);
        assert_eq!(told(none, 0o600), []);
        assert_eq!(told(none, 0o640), [readers(true)]);
        assert_eq!(told(plain, 0o600), [secrets()]);
        assert_eq!(told(plain, 0o640), [readers(true), secrets()]);
        assert_eq!(told(plain, 0o644), [readers(false), secrets()]);
        let apart = "source = \"http://10.0.0.9/cam\"\nusername = \"gate\"\npassword = \"file:pw\"";
        allow(&dir.path().join("pw"), "hunter2", 0o604);
        assert_eq!(told(apart, 0o600), [("password of camera north/entry".to_owned(), false)]);
    }
}
