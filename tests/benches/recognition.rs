//! Compares the way from a frame to a decision with the same models in Python.
//!
//!     cargo bench --bench recognition
//!
//! The peer (`tests/peers/recognition.py`) uses onnxruntime, OpenCV and FAISS, tuned by hand. Its
//! packages come from PyPI into a virtual environment beside the build. Each side uses one thread.
//! Both take turns, so that the load of the machine delays both.
//!
//! A visit is two frames of one person, 1280x720 JPEG. Ours goes through the gate's own functions
//! ([`probe::Visit`]). A frame's time is that of the visit's first look, and a decision's time that of
//! both looks. The searches are for one template each among 50,000. Ours also forms the worker's mean
//! and the distance to the second worker; the peer returns the best index alone.

#![allow(clippy::disallowed_methods, reason = "a bench measures")]

#[path = "recognition/peer.rs"]
mod peer;
#[path = "recognition/people.rs"]
mod people;
mod workshop;

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use gatehouse::{
    camera::Picture,
    clock::{Monotonic, SystemClock},
    config::{ModelFiles, Recognition},
    gate::vision_pool::{
        Watch,
        probe::{Looked, STAGES, Visit},
    },
    roster::{Roster, Worker},
    vision::{Face, Template, View, Vision},
};
use nix::time::{ClockId, clock_gettime};

use self::{
    peer::{Look, Peer},
    people::{Dice, People},
};
use workshop::{median, person};

/// Maximum time of a frame, of a decision and of a search, as a part of the peer's time.
const LIMITS: [f64; 3] = [0.95, 0.85, 1.0];
/// Size of the roster of the searches.
const MANY: usize = 50_000;
/// Interval between the two frames of a visit.
const BETWEEN: Duration = Duration::from_millis(66);
/// Minimum overlap (intersection over union) of two boxes of one face.
const SAME: f32 = 0.3;

#[derive(clap::Parser)]
pub struct Arguments {
    /// Number of visits; each has two frames
    #[arg(long, default_value_t = 64)]
    visits: usize,
    /// Workers on the roster of the visits, one template each
    #[arg(long, default_value_t = 1000)]
    workers: usize,
    /// Number of searches among 50,000 templates
    #[arg(long, default_value_t = 256)]
    probes: usize,
    /// Number of turns for each of the two
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Also rewrite the peer's PReLU as gatehouse does; this changes the peer's network
    #[arg(long)]
    peer_prelu_rewritten: bool,
    /// Fail if a limit is not met: a frame 0.95, a decision 0.85 and a search 1.00 of the peer's time,
    /// no face missed that the peer finds, and the same worker found
    #[arg(long)]
    limits: bool,
    /// A Python with the packages of tests/peers/recognition.txt [default: one that is set up beside
    /// the build]
    #[arg(long)]
    python: Option<PathBuf>,
    /// Keep the frames in this folder
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// Wall time and CPU time of a turn in seconds.
#[derive(Clone, Copy, Default)]
struct Spent {
    wall: f64,
    cpu: f64,
}

/// A row of the table: the turns of both.
#[derive(Default)]
struct Row {
    ours: Vec<Spent>,
    peers: Vec<Spent>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let models = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/models"));
    let vision = Vision::load(&ModelFiles::in_dir(&models))?;
    let dice = &mut Dice::new();
    let people = People::new(&vision, &models.join("photos"))?;
    let visits = people.visits(arguments.visits.max(1), dice)?;
    let strangers = arguments.workers.saturating_sub(people.templates.len());
    let templates = people.templates.iter().cloned().chain((0..strangers).map(|_| dice.template()));
    let templates: Vec<Template> = templates.collect();
    let many: Vec<Template> = (0..MANY).map(|_| dice.template()).collect();
    let near = |n: usize, dice: &mut Dice| dice.near(&many[n * 97 % MANY]);
    // Half of the probes are strangers.
    let probes = 0..arguments.probes.max(2);
    let probes = probes.map(|n| if n % 2 == 0 { near(n, dice) } else { dice.template() });
    let probes: Vec<Template> = probes.collect();

    let kept = arguments.keep.as_deref();
    let mut peer = Peer::new(&models, kept, &visits, [&templates, &many, &probes], &arguments)?;
    println!("{} visits, {} workers; the peer: {}", visits.len(), templates.len(), peer.name);

    let roster = roster(&templates)?;
    let crowd = self::roster(&many)?;
    let clock = SystemClock::new()?;
    let mut rows: [Row; 3] = Default::default();
    let (mut stages, mut peers_stages) = (Vec::new(), Vec::new());
    let mut glances = Vec::new();
    let mut judged = None;
    // The first round is not counted.
    for round in 0..=arguments.rounds.max(1) {
        let mut looks = Vec::new();
        let mut ours = [Spent::default(); 3];
        for visit in &visits {
            let (vision, roster, clock) = (&vision, &roster, &clock);
            let (rules, watch) = (Recognition::default(), Watch::default());
            let mut going = Visit { vision, roster, clock, rules, watch };
            for (n, frame) in visit.frames.iter().enumerate() {
                let at = Monotonic::from_millis(1000) + BETWEEN * n as u32;
                let (looked, spent) = timed(|| going.look(at, frame));
                let row = if n == 0 { 0..2 } else { 1..2 };
                ours[row].iter_mut().for_each(|row| row.add(spent));
                looks.push(looked?);
            }
        }
        let (best, searched) =
            timed(|| probes.iter().map(|probe| index(&crowd, probe)).collect::<Vec<_>>());
        ours[2] = searched;
        let peers_looks = peer.look()?;
        let peers_search = peer.search()?;
        anyhow::ensure!(peers_looks.len() == looks.len(), "the peer has other frames");
        if round == 0 {
            judged = Some(judge(&looks, &peers_looks, &visits, &roster, &best, &peers_search.best));
            continue;
        }
        let mut theirs = [Spent::default(); 3];
        for pair in peers_looks.chunks(2) {
            theirs[0].add(pair[0].spent());
            pair.iter().for_each(|look| theirs[1].add(look.spent()));
        }
        theirs[2] = peers_search.spent();
        let counts = [visits.len(), visits.len(), probes.len()].map(|n| n as f64);
        for (((row, ours), theirs), n) in rows.iter_mut().zip(ours).zip(theirs).zip(counts) {
            row.ours.push(ours.over(n));
            row.peers.push(theirs.over(n));
        }
        let first =
            |n: usize| looks.iter().step_by(2).map(move |look| look.stages[n].as_secs_f64());
        stages.push(std::array::from_fn(|n| first(n).sum::<f64>() / visits.len() as f64));
        let first = |n: usize| peers_looks.iter().step_by(2).map(move |look| look.stage(n));
        peers_stages.push(std::array::from_fn(|n| first(n).sum::<f64>() / visits.len() as f64));
        let luma = |frame: &Picture| View::new(frame)?.luma();
        let (luma, glance) = timed(|| {
            visits.iter().map(|visit| luma(&visit.frames[0])).collect::<Result<Vec<_>, _>>()
        });
        luma?;
        glances.push(glance.over(visits.len() as f64).wall * 1000.0);
    }
    let judged = judged.context("no round")?;

    println!(
        "\n{:<36}{:>9} {:>9} {:>7}   {:>9} {:>9} {:>7}",
        "ms, medians of turns", "wall", "peer", "ratio", "CPU", "peer", "ratio"
    );
    let names = ["one frame", "a decision, two frames", "a search among 50,000"];
    let mut missed = Vec::new();
    for ((name, row), limit) in names.iter().zip(&rows).zip(LIMITS) {
        let ratio = row.print(name);
        if ratio > limit {
            missed.push(format!("{name}: {ratio:.2} of the peer's time, more than {limit:.2}"));
        }
    }
    println!("\n{:<36}{:>9} {:>9}", "stages of one frame, ms", "ours", "peer");
    for (n, stage) in STAGES.iter().enumerate() {
        println!("{stage:<36}{:>9.3} {:>9.3}", of_stage(&stages, n), of_stage(&peers_stages, n));
    }
    println!("{:<36}{:>9.3}", "glance (motion; before these)", median(&glances));
    print!("\n{judged}");
    missed.extend(judged.faults());
    for fault in &missed {
        println!("NOT MET: {fault}");
    }
    anyhow::ensure!(!arguments.limits || missed.is_empty(), "{} limits are not met", missed.len());
    Ok(())
}

/// Returns the median of a stage in milliseconds.
fn of_stage(stages: &[[f64; STAGES.len()]], n: usize) -> f64 {
    median(&stages.iter().map(|turn| turn[n] * 1000.0).collect::<Vec<_>>())
}

fn roster(templates: &[Template]) -> anyhow::Result<Roster> {
    let workers = templates.iter().enumerate();
    let workers = workers.map(|(n, template)| {
        let worker = Worker { templates: 1, ..Worker::new(person(n)?) };
        Ok((worker, vec![template.clone()]))
    });
    Ok(Roster::new(1, workers.collect::<anyhow::Result<_>>()?))
}

/// Returns the number of the best worker.
fn index(roster: &Roster, template: &Template) -> Option<usize> {
    roster.best(template)?.worker.person.id.as_str().strip_prefix('B')?.parse().ok()
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Spent) {
    let now = |clock| {
        let time = clock_gettime(clock).map(Duration::from).unwrap_or_default();
        time.as_secs_f64()
    };
    let clocks = [ClockId::CLOCK_MONOTONIC, ClockId::CLOCK_THREAD_CPUTIME_ID];
    let begun = clocks.map(now);
    let done = work();
    let ended = clocks.map(now);
    (done, Spent { wall: ended[0] - begun[0], cpu: ended[1] - begun[1] })
}

impl Spent {
    fn add(&mut self, other: Spent) {
        self.wall += other.wall;
        self.cpu += other.cpu;
    }

    fn over(self, n: f64) -> Spent {
        Spent { wall: self.wall / n, cpu: self.cpu / n }
    }
}

impl Row {
    /// Prints the row. Returns the median ratio of the wall times of a turn of both.
    fn print(&self, name: &str) -> f64 {
        let of = |part: fn(&Spent) -> f64| {
            let [ours, peers]: [Vec<f64>; 2] =
                [&self.ours, &self.peers].map(|turns| turns.iter().map(part).collect());
            let ratios: Vec<f64> =
                ours.iter().zip(&peers).map(|(ours, peers)| ours / peers).collect();
            (median(&ours) * 1000.0, median(&peers) * 1000.0, median(&ratios))
        };
        let (wall, cpu) = (of(|spent| spent.wall), of(|spent| spent.cpu));
        println!(
            "{name:<36}{:>9.3} {:>9.3} {:>7.2}   {:>9.3} {:>9.3} {:>7.2}",
            wall.0, wall.1, wall.2, cpu.0, cpu.1, cpu.2
        );
        wall.2
    }
}

/// What both found.
#[derive(Default)]
struct Judged {
    frames: usize,
    /// Faces that the peer found.
    peers_faces: usize,
    /// Boxes of the peer that are no face.
    false_alarms: usize,
    /// Faces that the peer found and ours missed, and the other way round.
    missed: Vec<(usize, [f32; 4])>,
    peer_missed: usize,
    /// Frames in which both found a face, those with the same best worker, and those in which it is
    /// the right one.
    both: usize,
    same: usize,
    right: usize,
    /// Frames with a poor face.
    poor: usize,
    /// Visits that ended with a decision for the right worker, and for another one.
    decided: usize,
    wrong: usize,
    visits: usize,
    /// Searches with the same best template.
    searches: usize,
    same_search: usize,
}

fn judge(
    looks: &[Looked],
    peers: &[Look],
    visits: &[people::Visit],
    roster: &Roster,
    best: &[Option<usize>],
    peers_best: &[usize],
) -> Judged {
    let mut judged = Judged { frames: looks.len(), visits: visits.len(), ..Judged::default() };
    for (n, (look, peer)) in looks.iter().zip(peers).enumerate() {
        let visit = &visits[n / 2];
        let is_face = |face: &&[f32; 4]| visit.holds(n % 2, face);
        let real = || peer.boxes.iter().filter(is_face);
        judged.peers_faces += real().count();
        judged.false_alarms += peer.boxes.len() - real().count();
        let ours = |face: &[f32; 4]| look.faces.iter().any(|own| overlap(own, face) > SAME);
        let missed = real().filter(|face| !ours(face));
        judged.missed.extend(missed.map(|face| (n, *face)));
        let theirs = |own: &&Face| peer.boxes.iter().any(|face| overlap(own, face) > SAME);
        judged.peer_missed += look.faces.iter().filter(|own| !theirs(own)).count();
        let Some((face, theirs)) = look.face.as_ref().zip(peer.best) else { continue };
        judged.both += 1;
        judged.poor += usize::from(face.flaw.is_some());
        let found = index(roster, &face.template);
        // The peer's worker is that of its widest box.
        let widest = peer.boxes.iter().max_by(|a, b| a[2].total_cmp(&b[2]));
        let is_false = !widest.is_some_and(|face| visit.holds(n % 2, face));
        judged.same += usize::from(is_false || found == Some(theirs));
        judged.right += usize::from(found == Some(visit.person));
        if n % 2 == 1 && face.decided {
            let named = face.sighted.named().map(|id| id.as_str().to_owned());
            let right = named.is_some_and(|id| id == format!("B{:05}", visit.person));
            judged.decided += usize::from(right);
            judged.wrong += usize::from(!right);
        }
    }
    judged.searches = best.len();
    judged.same_search = best.iter().zip(peers_best).filter(|(a, b)| **a == Some(**b)).count();
    judged
}

fn overlap(own: &Face, &[x, y, w, h]: &[f32; 4]) -> f32 {
    let own = own.bbox;
    let across = (own.x + own.w).min(x + w) - own.x.max(x);
    let down = (own.y + own.h).min(y + h) - own.y.max(y);
    let common = across.max(0.0) * down.max(0.0);
    common / (own.w * own.h + w * h - common)
}

impl Judged {
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut must = |met: bool, fault: &str| (!met).then(|| faults.push(fault.to_owned()));
        must(self.peers_faces >= self.frames * 9 / 10, "the peer finds faces in too few frames");
        must(self.missed.is_empty(), "a face that the peer finds is missed");
        must(self.same == self.both, "another worker is found");
        must(self.wrong == 0, "a decision names the wrong worker");
        must(self.same_search == self.searches, "another template is the nearest one");
        faults
    }
}

impl std::fmt::Display for Judged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Judged { frames, peers_faces, missed, peer_missed, both, same, right, .. } = self;
        let misses = missed.len();
        writeln!(
            f,
            "faces of the peer in {frames} frames: {peers_faces}; missed by ours: {misses}; its boxes \
             without a face: {}",
            self.false_alarms
        )?;
        for (frame, [x, y, w, h]) in missed {
            writeln!(f, "  frame {frame:04}: {w:.0} x {h:.0} at {x:.0}, {y:.0}")?;
        }
        writeln!(f, "faces of ours that the peer missed: {peer_missed}")?;
        writeln!(
            f,
            "frames with a face for both: {both}; same worker {same}, right worker {right}"
        )?;
        writeln!(f, "frames with a poor face by the gate's limits: {}", self.poor)?;
        let (visits, decided) = (self.visits, self.decided);
        writeln!(f, "visits: {visits}; decided {decided}, for a wrong worker {}", self.wrong)?;
        writeln!(f, "searches: {}; same template {}", self.searches, self.same_search)
    }
}
