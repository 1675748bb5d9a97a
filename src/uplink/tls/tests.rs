//! Files of certificates and keys, and the messages about them. Handshakes with a real broker are
//! in `tests/integration/tls.rs`.

use std::path::PathBuf;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// Makes a self-signed certificate, valid until a day of this year, and its key.
fn made(until: i32) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["gate".to_owned()]).unwrap();
    params.not_after = date_time_ymd(until, 2, 3);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn broker() -> Broker {
    Broker { host: "localhost".to_owned(), port: 8883, tls: true }
}

fn refusal(ca: Option<PathBuf>, own: Option<(PathBuf, PathBuf)>) -> String {
    let own = own.map(|(cert, key)| (cert, Secret::File(key)));
    let safety = Safety::new(&Tls { ca, own });
    safety.transport(&broker()).err().expect("refused").to_string()
}

#[test]
fn an_unusable_file_is_named_with_a_remedy_and_no_message_shows_a_key() {
    let files = Files::new();
    let (cert, key) = made(2100);
    let (_, other) = made(2100);
    let ca = files.write("ca.pem", &cert);
    let own = files.write("gate.pem", &cert);
    let cut = &cert[..cert.len() / 2];
    let scrambled = cert.replacen("\nMII", "\nAAA", 1);
    assert_ne!(scrambled, cert);
    for (content, expected) in [
        ("", "holds no certificate in PEM"),
        (key.as_str(), "holds no certificate in PEM"),
        (cut, "certificate 1 in it is damaged"),
        (scrambled.as_str(), "certificate 1 in it is damaged"),
        (&format!("{cert}\n{cut}"), "certificate 2 in it is damaged"),
        (&"x".repeat(MAX_FILE_BYTES as usize + 1), "more than 1048576 bytes"),
    ] {
        let path = files.write("bad.pem", content);
        let good_key = files.write("gate.key", &key);
        let problem = refusal(Some(path.clone()), None);
        assert!(problem.starts_with(&format!("ca {}: ", path.display())), "{problem}");
        assert!(problem.contains(expected), "{problem:?} lacks {expected:?}");
        let problem = refusal(Some(ca.clone()), Some((path.clone(), good_key)));
        assert!(problem.starts_with(&format!("cert {}: ", path.display())), "{problem}");
        assert!(problem.contains(expected), "{problem:?} lacks {expected:?}");
    }
    let missing = refusal(Some(files.path("none.pem")), None);
    assert!(missing.contains("none.pem: No such file") && missing.contains("put the file there"));
    let body = key.lines().nth(1).unwrap();
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for (content, expected) in [
        (format!("-----BEGIN {body}\n"), "holds no private key that can be used"),
        (key.replacen('M', "!", 1), "holds no private key that can be used"),
        (body.to_owned(), "holds no private key that can be used"),
        (cert.clone(), "holds no private key that can be used"),
        (encrypted, "without a passphrase"),
        (other, "does not belong to cert"),
    ] {
        let path = files.write("gate.key", &content);
        let problem = refusal(Some(ca.clone()), Some((own.clone(), path.clone())));
        assert!(problem.starts_with(&format!("key {}", path.display())), "{problem}");
        assert!(problem.contains(expected), "{problem:?} lacks {expected:?}");
        assert!(!problem.contains(&body[..16]), "{problem}");
    }
    let missing = refusal(Some(ca), Some((own, files.path("none.key"))));
    assert!(missing.starts_with("key: cannot read the secret"), "{missing}");
}

#[test]
fn the_authority_that_ends_last_counts_and_files_are_read_each_time() {
    let files = Files::new();
    let ((early, _), (late, key)) = (made(2090), made(2100));
    let ca = files.write("ca.pem", &format!("{late}{early}"));
    let (cert, secret) = (files.write("gate.pem", &late), files.write("gate.key", &key));
    let own = Some((cert.clone(), Secret::File(secret.clone())));
    let safety = Safety::new(&Tls { ca: Some(ca.clone()), own });
    let date = |text: &str| format!("{text}T00:00:00Z").parse().unwrap();
    let certificate = |whose, path: &Path, until: &str| Certificate {
        whose,
        path: Some(path.to_owned()),
        until: date(until),
    };
    assert_eq!(
        safety.certificates(),
        [
            certificate(CertificateOf::Authority, &ca, "2100-02-03"),
            certificate(CertificateOf::Gateway, &cert, "2100-02-03"),
        ]
    );
    assert!(matches!(safety.transport(&broker()), Ok(Transport::Tls(_))));
    let plain = Broker { tls: false, ..broker() };
    assert!(matches!(safety.transport(&plain), Ok(Transport::Tcp)));

    let (renewed, key) = made(9999);
    files.write("gate.pem", &renewed);
    assert!(safety.transport(&broker()).is_err(), "the new certificate is there without its key");
    files.write("gate.key", &key);
    assert!(safety.transport(&broker()).is_ok());
    assert_eq!(safety.certificates()[1], certificate(CertificateOf::Gateway, &cert, "9999-02-03"));
    std::fs::remove_file(&ca).unwrap();
    assert_eq!(safety.certificates().len(), 1);
}

#[test]
fn a_certificate_without_an_end_is_valid_until_the_last_timestamp() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["gate\u{1b}[31m".to_owned()]).unwrap();
    params.not_after = date_time_ymd(9999, 12, 31);
    params.distinguished_name.push(rcgen::DnType::CommonName, "a\u{1b}[31mb");
    let shown = Shown::of(params.self_signed(&key).unwrap().der(), true).unwrap();
    assert_eq!(shown.until, Timestamp::MAX);
    // An issuer's control characters are removed.
    assert!(shown.own_issuer && !shown.issuer.contains('\u{1b}'), "{}", shown.issuer);
}
