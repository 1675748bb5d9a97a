//! Puts all loads of large data on one daemon together: four cameras, commands with photos, an
//! import, enrolments with large photos, and a reader of the metrics. The site has 1,000 workers.
//! The daemon's memory must stay under a bound, and go back to a second one after the load.
//!
//! GATEHOUSE_SOAK_S sets the length in seconds. The default is 60.

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse::turnstile::Protocol;
use image::{RgbImage, imageops};
use serde_json::json;

use crate::common::{
    Daemon, Site, WallClock, broker,
    camera::{self, photo},
    desk::command,
    lanes::{Lanes, SEEN},
};

const WORKERS: usize = 1000;
/// Maximum resident memory of the daemon under load, in MiB.
const PEAK_MIB: u64 = 300;
/// Maximum resident memory of the daemon after the load, in MiB.
const AFTER_MIB: u64 = 160;
/// Timeout for the memory to go back after the load.
const BACK_WITHIN: Duration = Duration::from_secs(60);
/// Number of clients that enroll workers at the same time.
const CLIENTS: u32 = 6;

/// Returns a number of the kernel's account of the daemon, in MiB.
fn memory_mib(daemon: &Daemon, what: &str) -> u64 {
    let account = fs::read_to_string(format!("/proc/{}/status", daemon.0.id())).unwrap();
    let line = account.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() / 1024
}

/// Returns a photo of a person, enlarged to this height in pixels.
fn enlarged(name: &str, height: u32) -> RgbImage {
    let small = image::load_from_memory(&photo(name)).unwrap().to_rgb8();
    let width = small.width() * height / small.height();
    imageops::resize(&small, width, height, imageops::FilterType::Triangle)
}

/// Returns a JPEG that is stored on its side, with the EXIF orientation that turns it upright.
fn on_its_side(picture: &RgbImage) -> Vec<u8> {
    const EXIF: &[u8] = b"\xff\xe1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\
                          \x01\0\0\0\x08\0\0\0\0\0\0\0";
    let jpeg = camera::jpeg(&imageops::rotate90(picture));
    [&jpeg[..2], EXIF, &jpeg[2..]].concat()
}

/// Returns a roster file of workers without photos.
fn roster() -> String {
    let mut text = "id,name,id type,id number,team,contractor,trade\n".to_owned();
    for n in 0..WORKERS {
        writeln!(text, "R{n:04},Worker {n},passport,E{n:08},Team 1,Fuding Labour Co,fixer")
            .unwrap();
    }
    text
}

struct Scene<'a> {
    site: &'a Site,
    metrics: u16,
    stop: AtomicBool,
    done: [AtomicU32; 4],
}

impl Scene<'_> {
    /// Repeats a load until the end, and counts its rounds.
    fn repeat(&self, load: usize, mut work: impl FnMut(u32)) {
        while !self.stop.load(Relaxed) {
            work(self.done[load].fetch_add(1, Relaxed));
        }
    }

    /// Sends commands with five photos of nearly 1 MiB each.
    fn commands(&self) {
        let mut large = photo("person_b_2.jpg");
        // Bytes after the end of a JPEG are ignored.
        large.resize(1_000_000, 0);
        let photos = vec![STANDARD.encode(&large); 5];
        self.repeat(0, |n| {
            let worker = json!({
                "id": "W002", "name": "Jacinda", "id_number": "522201198805112024",
                "team": format!("Team {n}"), "contractor": "Fuding Labour Co", "trade": "steel fixer",
                "consent": "C-1", "photos": photos,
            });
            let payload = command(&format!("c-{n}"), "worker.upsert", worker).to_string();
            self.site.broker.publish("gatehouse/v1/P-1/gate-1/command", payload.as_bytes());
        });
    }

    fn imports(&self) {
        fs::write(self.site.path("roster.csv"), roster()).unwrap();
        self.repeat(1, |_| {
            let file = self.site.path("roster.csv");
            let said = self.site.gatehouse(&["worker", "import", file.to_str().unwrap()]);
            assert_eq!(said.code, 0, "{said:?}");
        });
    }

    /// Replaces the photo of a worker by large ones.
    fn enrolments(&self, client: u32, files: &[&str]) {
        self.repeat(2, |n| {
            let file = self.site.path(files[(n % files.len() as u32) as usize]);
            let worker = format!("P{client}");
            let said = self.site.gatehouse(&[
                "worker",
                "photo",
                "W001",
                "--replace",
                file.to_str().unwrap(),
                "--consent",
                "C-1",
            ]);
            assert_eq!(said.code, 0, "{worker}: {said:?}");
        });
    }

    fn metrics(&self) {
        self.repeat(3, |_| {
            let mut exporter = TcpStream::connect(("127.0.0.1", self.metrics)).unwrap();
            exporter
                .write_all(b"GET /metrics HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n")
                .unwrap();
            let mut answer = String::new();
            exporter.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            self.site.status();
            thread::sleep(Duration::from_millis(200));
        });
    }
}

/// Shows persons to the cameras in turn, in frames of 1080p.
fn cameras(lanes: &Lanes, until: Instant) {
    let frames = SEEN.map(|name| {
        let mut frame = RgbImage::from_pixel(1920, 1080, image::Rgb([110, 120, 130]));
        imageops::replace(&mut frame, &enlarged(name, 700), 500, 200);
        camera::jpeg(&frame)
    });
    for turn in 0.. {
        if Instant::now() > until {
            return;
        }
        for (n, lane) in lanes.lanes.iter().enumerate() {
            let camera = lane.camera.as_ref().unwrap();
            match turn % 3 {
                2 => camera.show_empty(),
                _ => camera.show(frames[(n + turn) % frames.len()].clone()),
            }
        }
        thread::sleep(Duration::from_secs(2));
    }
}

#[test]
fn memory_stays_bounded_under_all_loads_together_and_goes_back() {
    let _machine = crate::machine();
    let set = std::env::var("GATEHOUSE_SOAK_S").ok().and_then(|value| value.parse().ok());
    let length = Duration::from_secs(set.unwrap_or(60));
    let metrics = broker::free_port();
    let mut lanes = Lanes::start(&[(Protocol::ModbusRtu, 4)], &[("cool_down_s", 1.into())]);
    lanes.daemon.take().unwrap().stop();
    let listen = format!("127.0.0.1:{metrics}");
    lanes.site.configure(|c| c.set("metrics", "listen", listen).its("commands", "roster"));
    // Without a synchronised clock no command enrolls a worker.
    let wall = WallClock::new(&lanes.site.path("."));
    wall.synchronised(true);
    lanes.daemon = Some(lanes.site.start_with(&wall.environment()));
    let daemon = lanes.daemon.take().unwrap();
    // A phone's photo, one of the largest that is accepted, and a PNG.
    for (name, height) in [("phone.jpg", 4000), ("largest.jpg", 7000)] {
        let picture = enlarged("person_a_2.jpg", height);
        fs::write(lanes.site.path(name), on_its_side(&picture)).unwrap();
    }
    enlarged("person_a_2.jpg", 2000).save(lanes.site.path("scan.png")).unwrap();
    let files = ["phone.jpg", "largest.jpg", "scan.png"];
    let at_rest = memory_mib(&daemon, "VmRSS");
    let (stop, done) = (AtomicBool::new(false), Default::default());
    let scene = Scene { site: &lanes.site, metrics, stop, done };
    thread::scope(|scope| {
        scope.spawn(|| scene.commands());
        scope.spawn(|| scene.imports());
        (0..CLIENTS).for_each(|client| {
            let scene = &scene;
            drop(scope.spawn(move || scene.enrolments(client, &files)));
        });
        scope.spawn(|| scene.metrics());
        cameras(&lanes, Instant::now() + length);
        scene.stop.store(true, Relaxed);
    });
    let (peak, loaded) = (memory_mib(&daemon, "VmHWM"), memory_mib(&daemon, "VmRSS"));
    lanes.lanes.iter().for_each(|lane| lane.camera.as_ref().unwrap().show_empty());
    let over = Instant::now();
    let mut after = loaded;
    while after >= AFTER_MIB && over.elapsed() < BACK_WITHIN {
        thread::sleep(Duration::from_millis(500));
        after = memory_mib(&daemon, "VmRSS");
    }
    let done = scene.done.each_ref().map(|done| done.load(Relaxed));
    eprintln!(
        "resident, MiB: {at_rest} at rest, at most {peak}, {loaded} at the end of the load, {after} \
         after {:?}; commands, imports, enrolments, metrics: {done:?}",
        over.elapsed()
    );
    let status = scene.site.status();
    let grants: u64 = (0..4).map(|n| status["lanes"][n]["grants"].as_u64().unwrap()).sum();
    assert!(done.iter().all(|n| *n > 0) && grants > 0, "{done:?}, {grants} grants");
    assert_eq!(status["roster"]["workers"].as_u64(), Some(WORKERS as u64 + 4), "{status:#}");
    assert!(peak < PEAK_MIB, "{peak} MiB under load");
    assert!(after < AFTER_MIB, "{after} MiB after the load");
}
