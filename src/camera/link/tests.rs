use super::*;

#[test]
fn an_error_that_repeats_the_address_is_shown_without_its_secret() {
    let link = |address: &str| {
        let url = CameraUrl { url: url::Url::parse(address).unwrap(), login: None };
        let stop = CancellationToken::new();
        Link::open(&url, &stop, async { Ok(()) }).unwrap().0
    };
    for (address, kept) in [
        ("rtsp://10.0.0.9/user=admin_password=hunter2_channel=1.sdp", "10.0.0.9/user=***"),
        ("http://10.0.0.9/video?user=admin&pwd=hunter2", "10.0.0.9/video?***"),
        ("http://10.0.0.9/video?hunter2", "10.0.0.9/video?***"),
    ] {
        let what = format!("cannot join {address} with {address:?}: no");
        let error = link(address).fails(what).to_string();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(error.contains(kept) && error.ends_with("\": no"), "{error}");
    }
}
