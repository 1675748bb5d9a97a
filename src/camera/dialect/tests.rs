use super::*;

const CAM: &str = "rtsp://10.0.0.9:8554/cam?x=1";

fn url() -> Url {
    Url::parse(CAM).unwrap()
}

fn head(fields: &str) -> Head {
    Head::parse(format!("RTSP/1.0 200 OK\r\n{fields}\r\n").as_bytes())
}

#[test]
fn a_base_is_repaired_or_replaced_by_the_address() {
    let with = |value: &str| base(&head(&format!("Content-Base: {value}\r\n")), &url()).to_string();
    assert_eq!(with("rtsp://10.0.0.9:8554/cam/"), "rtsp://10.0.0.9:8554/cam/");
    assert_eq!(with("RTSP://rtsp://cam.lan:554/s/"), "rtsp://cam.lan:554/s/");
    assert_eq!(with("192.168.1.10:554/stream0/"), "rtsp://192.168.1.10:554/stream0/");
    assert_eq!(with("cam:554/s"), "rtsp://cam:554/s");
    assert_eq!(with("/stream0/"), "rtsp://10.0.0.9:8554/stream0/");
    for unusable in ["", " ", "rtsp://", "rtsp://:x/", "rtsp://a:b@c/"] {
        assert_eq!(with(unusable), CAM, "{unusable:?}");
    }
    let location = head("Content-Base:\r\nContent-Location: rtsp://a/b/\r\n");
    assert_eq!(base(&location, &url()).as_str(), "rtsp://a/b/");
}

#[test]
fn an_sdp_has_its_video_and_one_form() {
    let strict = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\na=control:*\r\n\
                  m=audio 0 RTP/AVP 0\r\na=control:a\r\n\
                  m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
                  a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0LAM9o=,aM4=\r\n\
                  a=control:track1\r\n";
    let expected = sdp(strict, &url()).unwrap();
    assert!(expected.contains("m=video 0 RTP/AVP 96\r\n") && !expected.contains("audio"));
    let mixed = strict.replace("0 0\r\n", "0 0\n").replace("s=x\r\n", "\n");
    let blanks = strict.replace("a=rtpmap:96 H264/90000", " a=rtpmap: 96  H264/90000 ");
    let short = strict.replace("o=- 1 1 IN IP4 127.0.0.1\r\n", "").replace("v=0\r\n", "");
    let nul = format!("{strict}\0\0\r\n\r\n");
    let bare = strict.replace("H264/90000", "H264");
    let nameless = strict.replace("a=rtpmap:96 H264/90000\r\n", "");
    let doubled = strict.replace("a=control:a", "a=control:a\r\na=x");
    for other in [mixed, blanks, short, nul, bare, nameless, doubled] {
        assert_eq!(sdp(&other, &url()).unwrap(), expected, "{other:?}");
    }
    let uncontrolled = sdp(&strict.replace("a=control:*\r\n", "a=control:\r\n"), &url()).unwrap();
    assert!(uncontrolled.contains(&format!("a=control:{CAM}\r\n")), "{uncontrolled}");
    assert!(sdp("v=0\r\nm=audio 0 RTP/AVP 0\r\n", &url()).unwrap_err().contains("no video"));
}

#[test]
fn a_description_that_is_none_is_refused_with_what_it_is() {
    let sdp = b"v=0\r\nm=video 0 RTP/AVP 26\r\n";
    for kind in ["application/sdp; charset=utf-8", "Application/SDP", "text/plain", ""] {
        let head = head(&format!("Content-Type: {kind}\r\n"));
        let (lines, _) = described(&head, sdp, &url()).unwrap();
        assert!(lines.contains("Content-Type: application/sdp\r\n"), "{lines}");
    }
    assert!(described(&head(""), b"s=x\nm=video 0 RTP/AVP 26\r\n", &url()).is_ok());
    let page = described(&head("Content-Type: text/html\r\n"), b"<html>", &url()).unwrap_err();
    assert!(page.contains("as text/html, and not as SDP"), "{page}");
    let empty = described(&head(""), b" ", &url()).unwrap_err();
    assert!(empty.contains("describes no stream"), "{empty}");
}

#[test]
fn a_session_without_a_usable_timeout_has_the_default_one() {
    for (value, id, timeout) in [
        ("12345678;timeout=60", Some("12345678"), ";timeout=60"),
        ("  a b ; Timeout = 30 ; x", Some("a b"), ";timeout=30"),
        ("x;timeout=0", Some("x"), ""),
        ("x;timeout=", Some("x"), ""),
        ("x;timeout=1", Some("x"), ";timeout=4"),
        ("x;y;z", Some("x"), ""),
        ("", None, ""),
    ] {
        let (session, lines) = set_up(&head(&format!("Session: {value}\r\n")));
        assert_eq!(session.as_deref(), id, "{value}");
        assert!(lines.starts_with(&format!("Session: {SESSION}{timeout}\r\n")), "{value}: {lines}");
    }
}

#[test]
fn a_transport_is_read_through_blanks_and_junk() {
    let with = |value: &str| head(&format!("Transport: {value}\r\n"));
    assert_eq!(channel(&with("RTP/AVP/TCP;unicast; interleaved=2-3;ssrc=zz;source=")), 2);
    assert_eq!(channel(&with("RTP/AVP/TCP;interleaved = 4")), 4);
    for none in ["", "RTP/AVP/TCP;unicast", "RTP/AVP/TCP;interleaved=x-y"] {
        assert_eq!(channel(&with(none)), 0, "{none}");
    }
    let udp = with("RTP/AVP;unicast;Server_Port=5000-5001");
    assert_eq!(transport(&udp, "server_port"), Some("5000-5001"));
}
