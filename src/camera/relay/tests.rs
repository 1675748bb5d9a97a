use super::*;

#[test]
fn a_request_gets_the_cameras_number_session_and_login() {
    let login = |challenge: &str, user: &str| {
        let login = crate::config::Login {
            user: user.to_owned(),
            password: "word".to_owned().into(),
            auth: crate::config::LoginScheme::Any,
        };
        let mut answers = Answers::new(Some(&login), &Asked::default());
        answers.challenged([challenge], true).unwrap();
        answers
    };
    let text =
        "SETUP rtsp://a/cam RTSP/1.0\r\nCSeq: 2\r\nSession: gatehouse\r\nTransport: x\r\n\r\n";
    let fields = Head::parse(text.as_bytes());
    let request = Request { method: "SETUP", address: "rtsp://a/cam", fields: &fields };
    let mut gate = login("Basic realm=\"cam\"", "gate");
    let written = request.written(&mut 6, &mut gate, Some("12"), Some("RTP/AVP".to_owned()));
    assert_eq!(
        *written.unwrap(),
        "SETUP rtsp://a/cam RTSP/1.0\r\nCSeq: 7\r\nAuthorization: Basic Z2F0ZTp3b3Jk\r\n\
         Session: 12\r\nTransport: RTP/AVP\r\n\r\n"
    );
    let mut none = Answers::new(None, &Asked::default());
    let written = request.written(&mut 0, &mut none, None, None).unwrap();
    assert_eq!(*written, "SETUP rtsp://a/cam RTSP/1.0\r\nCSeq: 1\r\nTransport: x\r\n\r\n");
    let mut digest = login("Digest realm=\"r\", nonce=\"n\", qop=\"auth\"", "a\r\nX: y");
    let written = request.written(&mut 0, &mut digest, None, None).unwrap();
    assert!(written.contains("Digest ") && !written.contains("\r\nX: "), "{}", *written);
}

#[test]
fn a_redirect_goes_to_an_address_of_the_same_protocol_and_without_a_login() {
    let from = Url::parse("rtsp://10.0.0.9/cam").unwrap();
    let to = |location| led_to(&from, location, "rtsp").map(|url| url.to_string());
    assert_eq!(to(Some("/other?x")).unwrap(), "rtsp://10.0.0.9/other?x");
    assert_eq!(to(Some("rtsp://u:p@10.0.0.8:1554/c")).unwrap(), "rtsp://10.0.0.8:1554/c");
    assert!(to(Some("rtsps://10.0.0.8/c")).unwrap_err().contains("leads to rtsps:"));
    assert!(to(None).unwrap_err().contains("does not say to which"));
}
