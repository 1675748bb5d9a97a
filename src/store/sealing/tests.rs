use super::*;

#[test]
fn a_sealed_value_opens_only_in_its_own_place_with_its_own_key() {
    let sealer = Sealer::from_master(&[1; 32]);
    let sealed = sealer.seal("identity/W001", b"520102199001011234").unwrap();
    assert!(!sealed.windows(18).any(|w| w == b"520102199001011234"));
    assert_eq!(**sealer.open("identity/W001", &sealed).unwrap(), *b"520102199001011234");
    assert!(sealer.open("identity/W002", &sealed).is_err());
    assert!(Sealer::from_master(&[2; 32]).open("identity/W001", &sealed).is_err());
    for i in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[i] ^= 1;
        assert!(sealer.open("identity/W001", &altered).is_err(), "byte {i}");
        assert!(sealer.open("identity/W001", &sealed[..i]).is_err());
    }
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let secret = Secret::File(dir.path().join("key"));
    assert!(matches!(Sealer::load(&secret, false), Err(KeyError::Missing { .. })));
    let first = Sealer::load(&secret, true).unwrap();
    let again = Sealer::load(&secret, false).unwrap();
    assert_eq!(first.lookup("1"), again.lookup("1"));
    let mode = |m| std::fs::Permissions::from_mode(m);
    // A sign is not a digit, though Rust's number parser accepts it.
    assert!(parse_hex32(&"+1".repeat(32)).is_none());
    assert_eq!(
        std::fs::metadata(dir.path().join("key")).unwrap().permissions().mode() & 0o777,
        0o600
    );
    std::fs::set_permissions(dir.path().join("key"), mode(0o640)).unwrap();
    assert!(matches!(Sealer::load(&secret, false), Err(KeyError::Exposed { .. })));
}
