use super::*;
use crate::clock::SystemClock;

#[test]
fn a_certificate_gives_a_warning_from_thirty_days_before_its_end() {
    let now = SystemClock::new().unwrap().stamp();
    let warning = |whose, path: Option<&str>, seconds: i64| {
        let until = Timestamp::from_second(now.wall_ms / 1000 + seconds).unwrap();
        let certificate = Certificate { whose, path: path.map(Into::into), until };
        ends_soon(&certificate, "broker", &now).unwrap_or_default()
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
