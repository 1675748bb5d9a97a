//! Tests of the signing key, with the vector of RFC 8032, 7.1, test 2.

use std::os::unix::fs::PermissionsExt;

use super::*;

const SEED: &str = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
const PUBLIC: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
const SIGNATURE: &str = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";

#[test]
fn the_vector_of_rfc_8032_holds() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("signing.key");
    std::fs::write(&file, format!("{SEED}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let key = SigningKey::load(&Secret::File(file)).unwrap();
    assert_eq!(key.public().to_string(), PUBLIC);
    let signature = key.sign(&[0x72]);
    assert_eq!(hex::encode(&signature), SIGNATURE);
    assert!(key.public().has_signed(&[0x72], &signature));
    assert!(!key.public().has_signed(&[0x73], &signature));
    assert!(!format!("{key:?}").contains(SEED));
}

#[test]
fn a_missing_key_is_made_for_its_owner_alone_and_stays_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let secret = Secret::File(dir.path().join("signing.key"));
    let made = SigningKey::load(&secret).unwrap().public();
    let file = secret.path().unwrap().unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(SigningKey::load(&secret).unwrap().public(), made);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(SigningKey::load(&secret), Err(KeyError::Exposed { mode: 0o640, .. })));
}
