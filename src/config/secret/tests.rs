use super::*;

#[test]
fn outside_the_unit_a_credential_is_the_file_that_the_unit_loads() {
    let path = |name, given: Option<&str>| credential(name, given.map(Into::into));
    let inside = path("secret_key", Some("/run/credentials/gatehouse.service")).unwrap();
    assert_eq!(inside, Path::new("/run/credentials/gatehouse.service/secret_key"));
    assert_eq!(path("secret_key", None).unwrap(), Path::new("/etc/gatehouse/secrets/key"));
    let other = path("gate-key", None).unwrap_err().to_string();
    assert!(other.contains("/etc/gatehouse/secrets"), "{other}");
    assert!(other.contains("LoadCredential=gate-key:PATH"), "{other}");
    // The unit loads the credentials from the same folder.
    let unit = include_str!("../../../systemd/gatehouse.service");
    assert!(unit.contains("\nLoadCredential=secret:/etc/gatehouse/secrets\n"));
}
