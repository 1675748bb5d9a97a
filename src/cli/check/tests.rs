use super::*;

#[test]
fn i5_a_key_beside_the_data_is_warned_of_and_one_elsewhere_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let warning = |key| key_beside_the_data(&Storage::usual(dir.path().join("data"), key));
    let file = |path: &Path| Secret::File(path.to_owned());
    let inside = warning(file(&dir.path().join("data/key"))).unwrap();
    assert!(inside.contains("lies in the storage folder"), "{inside}");
    let beside = warning(file(&dir.path().join("secrets/key"))).unwrap();
    assert!(beside.contains("on the disk of the storage folder"), "{beside}");
    assert!(beside.contains("the manual, operate/keys.md"), "{beside}");
    // The kernel's own file system is never the disk of a temporary folder.
    assert_eq!(warning(file(Path::new("/proc/key"))), None);
    assert_eq!(warning(Secret::Credential("gatehouse-key".into())), None);
}
