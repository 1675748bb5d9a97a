use super::*;
use tracing::Level;

#[test]
fn a_level_without_a_target_does_not_turn_on_debug_in_libraries() {
    let enabled = |text: &str, target: &str, level: Level| {
        targets(text).unwrap().would_enable(target, &level)
    };
    for (text, target, most) in [
        ("", "gatehouse::gate", Level::INFO),
        ("", "tract_onnx::model", Level::ERROR),
        ("", "rumqttc", Level::INFO),
        ("debug", "retina::client", Level::ERROR),
        ("retina=debug", "retina::client", Level::DEBUG),
        ("debug", "gatehouse::gate::lane", Level::DEBUG),
        ("debug", "tract_core::optim", Level::INFO),
        ("debug", "tract_onnx", Level::ERROR),
        ("trace", "rumqttc::state", Level::INFO),
        ("warn", "gatehouse", Level::WARN),
        ("warn", "hyper", Level::WARN),
        ("debug,tract=debug", "tract_core", Level::DEBUG),
        ("debug,tract=debug", "tract_onnx", Level::DEBUG),
        ("tract=trace", "gatehouse", Level::INFO),
        ("info, gatehouse::uplink=trace", "gatehouse::uplink::mqtt", Level::TRACE),
        ("info, gatehouse::uplink=trace", "gatehouse::gate", Level::INFO),
        ("WARN", "gatehouse", Level::WARN),
    ] {
        let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        for level in levels {
            let expected = level <= most;
            assert_eq!(enabled(text, target, level), expected, "{text:?} {target} {level}");
        }
    }
    assert!(!enabled("off", "gatehouse", Level::ERROR));
    assert!(!enabled("off", "tract_onnx", Level::ERROR));
}

#[test]
fn an_invalid_directive_is_refused_and_quoted() {
    for (text, wrong) in [
        ("deubg", "deubg"),
        ("info,gatehouse=loud", "gatehouse=loud"),
        ("=debug", "=debug"),
        ("gate house=debug", "gate house=debug"),
        ("debug;tract=debug", "debug;tract=debug"),
    ] {
        let message = targets(text).unwrap_err().to_string();
        assert!(
            message.starts_with(&format!("GATEHOUSE_LOG: {wrong:?} is not valid")),
            "{message}"
        );
    }
}

#[test]
fn log_times_are_in_the_sites_time_zone() {
    let mut text = String::new();
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    SiteTime(zone.clone()).format_time(&mut Writer::new(&mut text)).unwrap();
    let at: jiff::Timestamp = text.parse().unwrap();
    assert!(
        text.ends_with("+08:00") && text.len() == "2026-10-01T08:00:00.123+08:00".len(),
        "{text}"
    );
    assert!(crate::clock::wall().duration_since(at).abs().as_secs() < 3600);
}
