use super::*;

/// Says nothing and hears nothing.
struct Mute;

impl Profile for Mute {
    fn record(&self, _: &Record) -> Made {
        unreachable!()
    }

    fn event(&self, _: &EventRecord) -> Made {
        unreachable!()
    }

    fn status(&self, _: &Online) -> Made {
        unreachable!()
    }

    fn offline(&self) -> Made {
        unreachable!()
    }
}

#[test]
fn i3_rows_do_not_wait_for_a_platform_that_cannot_acknowledge() {
    let upstream = |ack: &str| {
        toml::from_str(&format!("name = 'up'\nbroker = 'mqtt://h'\nack = '{ack}'")).unwrap()
    };
    assert!(can_acknowledge(&Mute, &upstream("broker")).is_ok());
    let refused = can_acknowledge(&Mute, &upstream("platform")).unwrap_err();
    assert!(refused.contains("write \"broker\""), "{refused}");
    let timezone = jiff::tz::TimeZone::UTC;
    let origin = Origin { gateway: "g".into(), project: "p".into(), timezone };
    let native = of(&upstream("platform"), &origin).unwrap();
    assert!(can_acknowledge(&*native, &upstream("platform")).is_ok());
}
