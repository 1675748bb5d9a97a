use super::*;

#[test]
fn with_an_admin_group_only_its_members_may_change_things() {
    // Users and groups of each Debian: the user bin is only in the group bin.
    let by = |uid, user: &str| Actor { uid, user: user.to_owned(), via: Via::Socket };
    assert!(may_change(None, &by(2, "bin")).is_ok());
    assert!(may_change(Some("bin"), &by(2, "bin")).is_ok());
    assert!(may_change(Some("daemon"), &by(0, "root")).is_ok());
    let refused = may_change(Some("daemon"), &by(2, "bin")).unwrap_err();
    assert!(refused.message.starts_with("bin may read, but not change anything"), "{refused}");
    assert!(may_change(Some("no such group"), &by(2, "bin")).is_err());
    assert!(may_change(Some("daemon"), &by(4_000_000, "uid 4000000")).is_err());
    let platform = Actor { uid: 2, user: "bin".to_owned(), via: Via::Upstream };
    assert!(may_change(Some("daemon"), &platform).is_ok());
}
