use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::clock::SystemClock;

#[test]
fn a_certificate_gives_a_warning_from_thirty_days_before_its_end() {
    let now = SystemClock::new().unwrap().stamp();
    let warning = |whose, path: Option<&str>, seconds: i64| {
        let until = Timestamp::from_second(now.wall_ms / 1000 + seconds).unwrap();
        let certificate = Certificate { whose, path: path.map(Into::into), until };
        ends_soon(&certificate, &now).unwrap_or_default()
    };
    let days = 86_400;
    assert_eq!(warning(CertificateOf::Gateway, Some("/g.pem"), 30 * days), "");
    let soon = warning(CertificateOf::Gateway, Some("/g.pem"), 30 * days - 1);
    assert!(soon.starts_with("our certificate /g.pem ends in 29 days, on 2"), "{soon}");
    let today = warning(CertificateOf::Authority, Some("/ca.pem"), 5);
    assert!(today.contains("in /ca.pem ends today"), "{today}");
    let ended = warning(CertificateOf::Broker, None, -5);
    assert!(ended.starts_with("the broker's certificate ended on"), "{ended}");
}

#[test]
fn a_secret_that_others_may_read_gives_a_warning_without_the_secret() {
    let dir = tempfile::tempdir().unwrap();
    let (file, config) = (dir.path().join("pw"), dir.path().join("g.toml"));
    let allow = |path: &Path, mode| {
        std::fs::write(path, "hunter2").unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    };
    let kept = Secret::File(file.clone());
    let plain = Secret::Plain(String::from("hunter2").into());
    allow(&file, 0o640);
    allow(&config, 0o640);
    assert_eq!(readable(&kept, &config), Ok(None));
    assert_eq!(readable(&plain, &config), Ok(None));
    allow(&file, 0o644);
    allow(&config, 0o604);
    for (secret, path) in [(&kept, &file), (&plain, &config)] {
        let warning = readable(secret, &config).unwrap().unwrap();
        assert!(warning.ends_with(&format!("chmod o= {}", path.display())), "{warning}");
        assert!(!warning.contains("hunter2"), "{warning}");
    }
    let missing = readable(&Secret::File(dir.path().join("none")), &config).unwrap_err();
    assert!(missing.contains("cannot read the secret"), "{missing}");
}
