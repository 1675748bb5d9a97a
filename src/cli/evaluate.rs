//! `gatehouse evaluate`: measures the recognition on a folder of photos, a folder for each person.

mod folder;
mod presentations;
mod report;

use std::{
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context as _, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use self::{folder::Found, report::Report};
use super::{Context, WholeFile, rig};
use crate::{
    config::{FaceLimits, ModelFiles, Recognition},
    evaluate::{self, Examined, Lacks, People, Photo, Rules},
    roster::SHARE_OF_MEAN,
    vision::Vision,
    words::counted,
};

/// Maximum number of looks that are averaged.
const LOOKS_MAX: i64 = 10;
/// Maximum number of unusable photos that are named for each reason. The others are counted.
const NAMED: usize = 10;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gatehouse evaluate faces\n  gatehouse evaluate faces --det det.svg"
)]
pub(super) struct Arguments {
    /// The folder: one folder in it for each person, with that person's photos (JPEG, PNG or PGM)
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Write the curve of both errors to this file, as SVG
    #[arg(long, value_name = "FILE")]
    det: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long, requires = "det")]
    force: bool,
    /// Compare the mean of this number of photos, as of one visit
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(i64).range(1..=LOOKS_MAX))]
    looks: i64,
    /// Try another rule: the share of a worker's mean photo in a score, 0 to 1 [default: the gate's]
    #[arg(long, value_name = "SHARE")]
    share_of_mean: Option<f32>,
    /// Measure the liveness model instead. DIR has a folder "live" and one for each material
    /// (print, phone and so on); in each, a folder for each person
    #[arg(long, conflicts_with_all = ["det", "looks", "share_of_mean"])]
    liveness: bool,
}

pub(super) fn run(context: &Context, arguments: Arguments) -> anyhow::Result<ExitCode> {
    if arguments.liveness {
        return presentations::run(context, &arguments);
    }
    let (models, enrolment, recognition) = settings(context)?;
    let share_of_mean = arguments.share_of_mean.unwrap_or(SHARE_OF_MEAN);
    ensure!((0.0..=1.0).contains(&share_of_mean), "--share-of-mean: {share_of_mean} is not 0 to 1");
    let looks = usize::try_from(arguments.looks).unwrap_or(1);
    let rules = Rules { recognition, share_of_mean, looks };
    let found = folder::list(&arguments.dir)
        .with_context(|| format!("{} cannot be measured", arguments.dir.display()))?;
    // The file must be writable before minutes are spent.
    let det = arguments.det.as_deref().map(|path| WholeFile::begin(path, arguments.force));
    let det = det.transpose()?;
    let vision = Vision::load(&models)?;
    let (people, unusable) = examined(&found, &vision, &enrolment, &recognition);
    drop(vision);
    tell(&unusable);
    let counts = evaluate::Counts::of(&people);
    ensure!(
        counts.seen > 0 || counts.enrolled > 0,
        "{}: none of {} shows a face that can be used; the reasons are above",
        arguments.dir.display(),
        counted(counts.photos, "photo")
    );
    let twice = in_two_folders(&found, &people);
    let verification = evaluate::verification(&people);
    let bar = bar("sizes of a roster");
    let identification = evaluate::identification(&people, &rules, |done, all| {
        if let Some(bar) = &bar {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        }
    });
    bar.iter().for_each(ProgressBar::finish_and_clear);
    if let Some(mut file) = det {
        file.file.write_all(evaluate::det(&verification, &identification).as_bytes())?;
        file.finish()?;
    }
    let report = Report::new(counts, &unusable, twice, &verification, &identification);
    context.print(&report, |_| report.table())?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the configured models and limits. A set can be measured in a checkout without a
/// configuration. One that the user named must be right.
fn settings(context: &Context) -> anyhow::Result<(ModelFiles, FaceLimits, Recognition)> {
    match context.config() {
        Ok(config) => Ok((config.models, config.enrolment, config.recognition)),
        Err(e) if context.config.is_some() => Err(e.into()),
        Err(_) => {
            let models = ModelFiles::in_dir(&rig::models_of_checkout());
            Ok((models, FaceLimits::default(), Recognition::default()))
        }
    }
}

/// A photo without one of its templates.
pub(super) struct Unusable {
    /// Person and file.
    pub name: String,
    pub not_enrolled: Option<Lacks>,
    pub not_seen: Option<Lacks>,
}

/// Examines each photo, on all cores.
fn examined(
    found: &Found,
    vision: &Vision,
    enrolment: &FaceLimits,
    recognition: &Recognition,
) -> (People, Vec<Unusable>) {
    let photos: Vec<(usize, &PathBuf)> = (0..)
        .zip(&found.people)
        .flat_map(|(person, (_, photos))| photos.iter().map(move |photo| (person, photo)))
        .collect();
    let bar = bar("photos");
    bar.iter().for_each(|bar| bar.set_length(photos.len() as u64));
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(photos.len())));
    let work = || {
        while let Some((at, (_, path))) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            photos.get(at).map(|photo| (at, photo))
        } {
            let bytes = folder::read(path).unwrap_or_default();
            let examined = evaluate::examine(vision, bytes, enrolment, recognition);
            // A panic of another thread ends the command anyway.
            done.lock().unwrap_or_else(PoisonError::into_inner).push((at, examined));
            bar.iter().for_each(|bar| bar.inc(1));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, |n| n.get()) {
            scope.spawn(work);
        }
    });
    bar.iter().for_each(ProgressBar::finish_and_clear);
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    let mut people: People = found.people.iter().map(|_| Vec::<Photo>::new()).collect();
    let mut unusable = Vec::new();
    for ((_, examined), (person, path)) in done.into_iter().zip(photos) {
        let Examined { photo, not_enrolled, not_seen } = examined;
        if not_enrolled.is_some() || not_seen.is_some() {
            let name = name(found, person, path);
            unusable.push(Unusable { name, not_enrolled, not_seen });
        }
        people[person].push(photo);
    }
    (people, unusable)
}

/// Returns person and file.
fn name(found: &Found, person: usize, path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    format!("{}/{file}", found.people[person].0)
}

/// Returns the photos of one person that are in the folders of two.
fn in_two_folders(found: &Found, people: &People) -> Vec<[String; 2]> {
    let named =
        |(person, photo): (usize, usize)| name(found, person, &found.people[person].1[photo]);
    evaluate::twice(people).into_iter().map(|pair| pair.map(named)).collect()
}

fn bar(of: &'static str) -> Option<ProgressBar> {
    std::io::stderr().is_terminal().then(|| {
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}, {eta} left");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.with_message(of)
    })
}

/// Names on stderr the photos that cannot be used at all, and counts all reasons.
fn tell(unusable: &[Unusable]) {
    for lacks in Lacks::ALL {
        let of: Vec<&Unusable> = unusable.iter().filter(|u| u.not_seen == Some(lacks)).collect();
        if of.is_empty() {
            continue;
        }
        let named: Vec<&str> = of.iter().take(NAMED).map(|u| u.name.as_str()).collect();
        let more = of.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        eprintln!("{}, {lacks}: {}{more}", counted(of.len(), "photo"), named.join(", "));
    }
}
