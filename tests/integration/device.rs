//! The files that the package installs on a device beside the program.

use std::{fs, path::Path, process::Command};

/// Returns the name that `gatehouse-port` gives a device. `files`: files of the kernel, by path in
/// /sys.
fn place(device: &str, files: &[(&str, &str)]) -> String {
    let sys = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = sys.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/gatehouse-port");
    let said = Command::new(script).arg(sys.path()).arg(device).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    String::from_utf8(said.stdout).unwrap().trim_end().to_owned()
}

#[test]
fn a_port_keeps_its_name_under_any_kernel_number() {
    let usb = "/devices/platform/fd800000.usb";
    let one = place(&format!("{usb}/usb3/3-1/3-1:1.0/ttyUSB0/tty/ttyUSB0"), &[]);
    assert_eq!(one, "fd800000.usb-1");
    assert_eq!(place(&format!("{usb}/usb1/1-1/1-1:1.0/ttyUSB7/tty/ttyUSB7"), &[]), one);
    let auto = format!("{usb}/xhci-hcd.4.auto/usb2/2-1/2-1:1.0/ttyUSB0/tty/ttyUSB0");
    assert_eq!(place(&auto, &[]), one);
    // Behind two hubs, and a device of the class of modems.
    let hub = format!("{usb}/usb3/3-1/3-1.4/3-1.4.2/3-1.4.2:1.0/tty/ttyACM0");
    assert_eq!(place(&hub, &[]), "fd800000.usb-1.4.2");
}

#[test]
fn no_two_ports_share_a_name() {
    let pci = "devices/pci0000:00/0000:00:14.0";
    let speed = format!("{pci}/usb2/speed");
    let port = format!("{pci}/usb1/1-3/1-3:1.0/ttyUSB1/port_number");
    let camera =
        |at: &str| place(&format!("/{pci}/{at}/video4linux/video0"), &[(&speed, "5000\n")]);
    let serial = |at: &str| place(&format!("/{pci}/{at}"), &[(&port, "1\n")]);
    let bridge = "/devices/platform/scb/fd500000.pcie/pci0000:00/0000:00:00.0/0000:01:00.0";
    let names = [
        camera("usb1/1-2/1-2:1.0"),
        camera("usb2/2-2/2-2:1.0"),
        camera("usb1/1-2/1-2:1.2"),
        serial("usb1/1-3/1-3:1.0/ttyUSB0/tty/ttyUSB0"),
        serial("usb1/1-3/1-3:1.0/ttyUSB1/tty/ttyUSB1"),
        place(&format!("{bridge}/usb1/1-2/1-2:1.0/video4linux/video0"), &[]),
        place("/devices/pci0001:00/0001:00:14.0/usb5/5-2/5-2:1.0/video4linux/video0", &[]),
        place("/devices/platform/soc/fe801000.csi/video4linux/video0", &[]),
    ];
    let expected = [
        "00:14.0-2",
        "00:14.0-ss2",
        "00:14.0-2.if2",
        "00:14.0-3",
        "00:14.0-3.port1",
        "01:00.0-2",
        "0001:00:14.0-2",
        "fe801000.csi",
    ];
    assert_eq!(names, expected);
}

#[test]
fn the_units_exposure_is_at_most_2_0() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/gatehouse.service");
    let said = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=20", "--no-pager"])
        .arg(unit)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(text.contains("Overall exposure level"), "{said:?}");
    assert!(said.status.success(), "{text}");
}
