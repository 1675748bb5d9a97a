//! The parser with tables in the kernel's form, and the rules with a clock that the test moves.

use super::*;
use crate::clock::{Clock, ManualClock};

const HEAD: &str =
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
const ARP: &str =
    "IP address       HW type     Flags       HW address            Mask     Device\n";

fn router(route: &str, arp: &str) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("route"), format!("{HEAD}{route}")).unwrap();
    std::fs::write(dir.path().join("arp"), format!("{ARP}{arp}")).unwrap();
    Proc::at(dir.path()).router().unwrap().map(|mac| mac.to_string())
}

/// Returns a default route as the kernel writes it.
fn route(device: &str, gateway: [u8; 4], flags: &str, metric: u32) -> String {
    let gateway = u32::from_ne_bytes(gateway);
    format!("{device}\t00000000\t{gateway:08X}\t{flags}\t0\t0\t{metric}\t00000000\t0\t0\t0\n")
}

fn neighbour(address: &str, flags: &str, mac: &str, device: &str) -> String {
    format!("{address:<17}0x1         {flags:<12}{mac}     *        {device}\n")
}

#[test]
fn the_router_is_that_of_the_best_default_route() {
    let mac = "02:fc:00:00:00:05";
    let ours = neighbour("192.0.2.1", "0x2", mac, "eth0");
    let by = |route: &str, arp: &str| router(route, arp);
    let eth = route("eth0", [192, 0, 2, 1], "0003", 100);
    assert_eq!(by(&eth, &ours).as_deref(), Some(mac));
    let link = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
    assert_eq!(by(&format!("{link}{eth}"), &ours).as_deref(), Some(mac));
    // The lower metric wins in any order.
    let other = neighbour("198.51.100.1", "0x2", "02:fc:00:00:00:09", "wwan0");
    let wwan = route("wwan0", [198, 51, 100, 1], "0003", 700);
    let both = format!("{other}{ours}");
    assert_eq!(by(&format!("{wwan}{eth}"), &both).as_deref(), Some(mac));
    let wwan = route("wwan0", [198, 51, 100, 1], "0003", 50);
    let found = by(&format!("{eth}{wwan}"), &both);
    assert_eq!(found.as_deref(), Some("02:fc:00:00:00:09"));
    // A point-to-point link has no router. A route that is down is not used.
    assert_eq!(by(&route("ppp0", [0, 0, 0, 0], "0001", 0), &ours), None);
    assert_eq!(by(&route("eth0", [192, 0, 2, 1], "0002", 0), &ours), None);
    assert_eq!(by(link, &ours), None);
    assert_eq!(by("", &ours), None);
    // The address is not yet known to the kernel, on another device, or of another neighbour.
    for unknown in [
        neighbour("192.0.2.1", "0x0", "00:00:00:00:00:00", "eth0"),
        neighbour("192.0.2.1", "0x2", "00:00:00:00:00:00", "eth0"),
        neighbour("192.0.2.1", "0x2", mac, "eth1"),
        neighbour("192.0.2.2", "0x2", mac, "eth0"),
        String::new(),
    ] {
        assert_eq!(by(&eth, &unknown), None, "{unknown}");
    }
}

#[test]
fn lines_that_are_not_in_the_kernels_form_are_ignored() {
    let mac = "02:fc:00:00:00:05";
    let (eth, ours) =
        (route("eth0", [192, 0, 2, 1], "0003", 0), neighbour("192.0.2.1", "0x2", mac, "eth0"));
    for wrong in ["eth0\n", "\n\n", "eth0 0 0 3 0 0 0 0 0 0 0\n", "\u{fffd}\t\t\t\t\t\t\t\n"] {
        assert_eq!(
            router(&format!("{wrong}{eth}"), &format!("{wrong}{ours}")).as_deref(),
            Some(mac)
        );
        assert_eq!(router(wrong, &ours), None);
        assert_eq!(router(&eth, wrong), None);
    }
    let signed = eth.replace("\t0003\t", "\t+003\t");
    assert_eq!(router(&signed, &ours), None);
    for wrong in ["2:fc:00:00:00:05", "02:fc:00:00:00", "02:fc:00:00:00:05:06", "02:fc:00:00:00:+5"]
    {
        assert!(wrong.parse::<Mac>().is_err(), "{wrong}");
        assert_eq!(router(&eth, &neighbour("192.0.2.1", "0x2", wrong, "eth0")), None);
    }
    // Only a bounded part of an endless table is read.
    let crowd = "x".repeat(2 * MOST_BYTES as usize);
    assert_eq!(router(&eth, &format!("{crowd}\n{ours}")), None);
    assert!(Proc::at(Path::new("/nowhere")).router().is_err());
}

#[test]
fn the_tables_of_this_machine_can_be_read() {
    // This machine may have no router, but reading the tables must succeed.
    Proc::default().router().unwrap();
}

const DAY: u64 = 24 * 3600;

struct Gateway {
    clock: ManualClock,
    relocation: Relocation,
    /// The value in the database.
    kept: Option<Vec<u8>>,
}

impl Gateway {
    fn new(synced: bool) -> Gateway {
        let clock = ManualClock::new(1_793_228_400_000, synced);
        Gateway { clock, relocation: Relocation::default(), kept: None }
    }

    /// Checks every five seconds for this time. Returns the router that is a trouble then.
    fn at(&mut self, router: Option<u8>, seconds: u64) -> Option<String> {
        for _ in 0..seconds.div_ceil(5) {
            let seen = router.map(|n| Mac([2, 0, 0, 0, 0, n]));
            if let Some(kept) = self.relocation.look(self.clock.stamp(), seen) {
                self.kept = Some(serde_json::to_vec(&kept).unwrap());
                self.relocation.adopt(kept, self.clock.monotonic());
            }
            self.clock.advance(Duration::from_secs(5));
        }
        self.troubled()
    }

    fn troubled(&self) -> Option<String> {
        let look = self.relocation.trouble(Monotonic::default())?;
        assert_eq!(look.what, AlarmWhat::Neighbourhood);
        assert!(look.trouble().unwrap().detail.to_string().contains(&look.subject));
        look.subject.chars().last().map(String::from)
    }

    fn restart(&mut self) -> Option<String> {
        self.relocation = Relocation::resumed(self.kept.as_deref());
        self.troubled()
    }
}

#[test]
fn the_first_router_is_learned_and_another_one_is_a_trouble_until_it_is_gone() {
    let mut b = Gateway::new(true);
    assert_eq!(b.at(Some(1), 300), None);
    assert_eq!(b.at(None, 3600), None, "no route is no other router");
    assert_eq!(b.at(Some(2), 20), None, "not for long enough");
    assert_eq!(b.at(Some(1), 5), None);
    assert_eq!(b.at(Some(2), 30), None, "the time begins again");
    assert_eq!(b.at(Some(2), 10).as_deref(), Some("2"));
    assert_eq!(b.restart().as_deref(), Some("2"));
    assert_eq!(b.at(None, 3600).as_deref(), Some("2"), "without a route the trouble stays");
    assert_eq!(b.at(Some(3), 60).as_deref(), Some("3"));
    assert_eq!(b.at(Some(1), 30).as_deref(), Some("3"));
    assert_eq!(b.at(Some(1), 10), None);
    assert_eq!(b.restart(), None);
    assert_eq!(b.at(Some(1), 3600), None);
}

#[test]
fn after_seven_days_by_a_trusted_clock_the_other_router_is_the_known_one() {
    let mut b = Gateway::new(false);
    b.at(Some(1), 60);
    assert_eq!(b.at(Some(2), 60).as_deref(), Some("2"));
    // The clock is not synchronised, so these days do not count.
    b.clock.advance(Duration::from_secs(30 * DAY));
    assert_eq!(b.at(Some(2), 60).as_deref(), Some("2"));
    b.clock.set(1_893_228_400_000, true);
    assert_eq!(b.at(Some(2), 60).as_deref(), Some("2"));
    assert_eq!(b.restart().as_deref(), Some("2"));
    b.clock.advance(Duration::from_secs(7 * DAY - 120));
    assert_eq!(b.at(Some(2), 30).as_deref(), Some("2"));
    b.clock.advance(Duration::from_secs(120));
    assert_eq!(b.at(Some(2), 5), None);
    // Now the first router is the other one.
    assert_eq!(b.restart(), None);
    assert_eq!(b.at(Some(1), 60).as_deref(), Some("1"));
}

#[test]
fn a_damaged_router_in_the_database_is_ignored() {
    for damaged in [&b"?"[..], b"{}", br#"{"known":"02","moved":null}"#] {
        let relocation = Relocation::resumed(Some(damaged));
        assert_eq!(relocation.kept, None);
    }
}
