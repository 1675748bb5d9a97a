//! `config/gatehouse.toml`, adapted to a device whose files are in a folder of the test.

use std::{fs, path::Path};

/// Returns the text of the shipped configuration with changed paths. Its files are in `folder`,
/// with the serial port at `tty` and a replayed camera at `camera`, which needs bench mode. The models are those of the checkout,
/// and the broker is at this port of the loopback.
pub fn gatehouse_toml(folder: &Path, broker: u16) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = fs::read_to_string(root.join("config/gatehouse.toml")).unwrap();
    let at = |path: &str| folder.join(path).display().to_string();
    for (there, here) in [
        ("#dir = \"/var/lib/gatehouse\"", format!("dir = {:?}", at("var/lib/gatehouse"))),
        ("#dir = \"/usr/share/gatehouse/models\"", format!("dir = {:?}", root.join("models"))),
        ("#socket = \"/run/gatehouse/control.sock\"", format!("socket = {:?}", at("control.sock"))),
        ("\nport = \"/dev/ttyUSB0\"", format!("\nport = {:?}", at("tty"))),
        ("#mode = \"field\"", "mode = \"bench\"".to_owned()),
        (
            "\nsource = \"http://10.0.0.21/video.mjpg\"",
            format!("\nsource = \"replay:{}\"", at("camera")),
        ),
        (
            "\nbroker = \"mqtt://127.0.0.1:1883\"",
            format!("\nbroker = \"mqtt://127.0.0.1:{broker}\""),
        ),
    ] {
        assert_eq!(text.matches(there).count(), 1, "{there}");
        text = text.replace(there, &here);
    }
    text
}
