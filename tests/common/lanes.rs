//! A gateway with several lanes. Their controllers are simulated devices on pseudo-terminals, and
//! several can share a line. Each lane has a camera for entries.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use gatehouse::{
    clock::SystemClock,
    config::TurnstileDriver,
    turnstile::{Protocol, SimulatedBus, SimulatedDevice, SimulatedLine},
};
use serde_json::Value;
use tokio::{runtime::Runtime, sync::broadcast};

use super::{
    Camera, Daemon, Site, Subscriber, configuration::Lane as Configured, photo_path, port::Watch,
    reader::Reader,
};

/// Input of a Modbus board for the contact of the fire alarm.
pub const FIRE_INPUT: u16 = 7;

/// The enrolled workers: id, name, ID number, photo.
pub const WORKERS: [(&str, &str, &str, &str); 4] = [
    ("W001", "刘峰", "522201199003074411", "person_a_2.jpg"),
    ("W002", "Jacinda", "522201198805112024", "person_b_2.jpg"),
    ("W003", "陈静", "35098219920101552X", "impostor_1.jpg"),
    ("W004", "马强", "620502198712123319", "impostor_2.jpg"),
];
/// The photo of each worker that the cameras show.
pub const SEEN: [&str; 4] =
    ["person_a_1.jpg", "person_b_1.jpg", "impostor_1.jpg", "impostor_2.jpg"];

pub struct Lane {
    pub name: String,
    pub device: SimulatedDevice,
    pub camera: Option<Camera>,
}

/// The lanes of one gateway.
pub struct Lanes {
    // Fields are dropped in this order.
    pub daemon: Option<Daemon>,
    pub platform: Subscriber,
    pub lanes: Vec<Lane>,
    /// The readers of cards, by the number of the lane.
    pub readers: BTreeMap<usize, Reader>,
    environment: &'static [(&'static str, &'static str)],
    _watches: Vec<Watch>,
    pub buses: Vec<SimulatedBus>,
    pub site: Site,
    pub runtime: Runtime,
}

impl Lanes {
    /// Starts a gateway with one serial line for each of `lines`, and that number of lanes on it.
    /// The first lane is `lane-0`. `more` holds further keys for each lane.
    pub fn start(lines: &[(Protocol, u8)], more: &[(&str, toml::Value)]) -> Lanes {
        Lanes::with_readers(lines, more, &[], &[])
    }

    /// As `start`, with a reader of cards at the entry of these lanes, and with variables in the
    /// daemon's environment.
    pub fn with_readers(
        lines: &[(Protocol, u8)],
        more: &[(&str, toml::Value)],
        readers_at: &[usize],
        environment: &'static [(&'static str, &'static str)],
    ) -> Lanes {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let within = runtime.enter();
        let clock = Arc::new(SystemClock::new().unwrap());
        let mut site = Site::without_lanes();
        let (mut buses, mut lanes) = (Vec::new(), Vec::new());
        let (mut watches, mut readers) = (Vec::new(), BTreeMap::new());
        for (n, (protocol, count)) in lines.iter().enumerate() {
            let line = SimulatedLine {
                speaks: protocol.speaks(),
                addresses: (1..=*count).collect(),
                pass_after: Some(Duration::from_millis(300)),
                fire_input: (*protocol == Protocol::ModbusRtu).then_some(FIRE_INPUT),
                link: Some(site.path(&format!("line-{n}"))),
            };
            let bus = SimulatedBus::spawn(line, clock.clone(), broadcast::channel(16).0).unwrap();
            for address in 1..=*count {
                let (name, device) =
                    (format!("lane-{}", lanes.len()), bus.device(address).unwrap());
                let pipe = format!("camera-{}", lanes.len());
                let driver = TurnstileDriver::of(&device).unwrap();
                let mut lane = described(&name, &driver, &bus.path(), address, &pipe, more);
                if readers_at.contains(&lanes.len()) {
                    let port = format!("card-{}", lanes.len());
                    lane = lane.reader(&port, "entry", "line");
                    readers.insert(lanes.len(), Reader::plug_in(&site.path(&port)));
                }
                site.configure(|c| c.lane(lane));
                let camera = Some(Camera::plug_in(&site.path(&pipe)));
                lanes.push(Lane { name, device, camera });
            }
            let (line, handle) = (bus.clone(), runtime.handle().clone());
            watches.push(Watch::over(&bus.path(), move || {
                handle.block_on(async {
                    line.unplug().await;
                    line.replug().await;
                });
            }));
            buses.push(bus);
        }
        site.broker.start();
        let platform = site.broker.subscriber();
        let daemon = Some(site.start_with(environment));
        for (id, name, id_number, photo) in WORKERS {
            let said = site.enroll(id, name, id_number, &photo_path(photo));
            assert_eq!(said.code, 0, "{said:?}");
        }
        drop(within);
        let lanes = Lanes {
            daemon,
            platform,
            lanes,
            readers,
            environment,
            _watches: watches,
            buses,
            site,
            runtime,
        };
        lanes.site.status_when("a healthy gate", |s| Site::degraded(s).is_empty());
        lanes
    }

    pub fn mode(&self, lane: usize, mode: &str) -> super::Said {
        let lane = &self.lanes[lane].name;
        self.site.gatehouse(&["lane", "mode", lane, mode, "--reason", "a drill"])
    }

    pub fn kill(&mut self) {
        self.daemon.take().unwrap().kill();
    }

    pub fn restart(&mut self) {
        self.daemon = Some(self.site.start_with(self.environment));
    }

    /// Returns the lane as `status` shows it.
    pub fn lane(&self, lane: usize) -> Value {
        self.site.status()["lanes"][lane].clone()
    }
}

fn described(
    name: &str,
    driver: &TurnstileDriver,
    port: &Path,
    address: u8,
    pipe: &str,
    more: &[(&str, toml::Value)],
) -> Configured {
    let lane = Configured::driven(name, driver.word())
        .turnstile("port", port.to_str().unwrap())
        .turnstile("address", i64::from(address))
        .camera("entry", &format!("replay:{pipe}"));
    let lane = more.iter().fold(lane, |lane, (key, value)| lane.set(key, value.clone()));
    match driver {
        TurnstileDriver::ModbusRtu(_) => lane.set("fire_input", i64::from(FIRE_INPUT)),
        _ => lane,
    }
}
