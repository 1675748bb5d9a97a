use super::*;

#[test]
fn i5_only_a_key_on_the_disk_of_the_data_gives_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let warning = |key| key_beside_the_data(&Storage::usual(dir.path().join("data"), key));
    let file = |path: &Path| Secret::File(path.to_owned());
    let inside = warning(file(&dir.path().join("data/key"))).unwrap();
    assert!(inside.contains("lies in the storage folder"), "{inside}");
    let beside = warning(file(&dir.path().join("secrets/key"))).unwrap();
    assert!(beside.contains("on the disk of the storage folder"), "{beside}");
    assert!(beside.contains("the manual, docs/operate/keys.md"), "{beside}");
    // A temporary folder is never on the file system of /proc.
    assert_eq!(warning(file(Path::new("/proc/key"))), None);
    assert_eq!(warning(Secret::Credential("gatehouse-key".into())), None);
}
