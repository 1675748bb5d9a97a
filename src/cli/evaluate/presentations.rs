//! `gatehouse evaluate --liveness`: measures the liveness model on photos of living people and of
//! imitations.

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, ensure};
use serde::Serialize;

use super::{
    super::{Context, table},
    Arguments, bar, folder,
    report::{Rate, interval, rate, shown},
    settings,
};
use crate::{
    evaluate::{self, Mistaken, Shown},
    vision::Vision,
    words::counted,
};

/// The folder of the living people. Each other folder is a material.
const LIVE: &str = "live";
/// The score from which a photo counts as living, as the model's makers mean it.
const THRESHOLD: f32 = 0.5;
const NO_CLAIM: &str = "These rates hold for these photos and this model. They are no test by any \
                        standard, and say nothing on materials that are not listed.";

#[derive(Serialize)]
struct Report {
    model: String,
    sha256: String,
    threshold: f32,
    live: Kind,
    materials: Vec<Kind>,
    remark: &'static str,
}

#[derive(Serialize)]
struct Kind {
    name: String,
    people: usize,
    judged: usize,
    not_judged: usize,
    /// Living people who are taken for a photo.
    #[serde(skip_serializing_if = "Option::is_none")]
    bpcer: Option<Rate>,
    /// Imitations that are taken for living people.
    #[serde(skip_serializing_if = "Option::is_none")]
    apcer: Option<Rate>,
    interval: Option<[Rate; 2]>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (models, _, recognition) = settings(context)?;
    let dir = &arguments.dir;
    let kinds =
        folder::kinds(dir).with_context(|| format!("{} cannot be measured", dir.display()))?;
    ensure!(
        kinds.iter().any(|(name, _)| name == LIVE) && kinds.len() > 1,
        "{}: it needs a folder \"{LIVE}\" and one for each material (print, phone, …); in each, a \
         folder for each person, with the photos",
        dir.display()
    );
    let vision = Vision::load(&models)?.with_liveness(&models.liveness)?;
    let bar = bar("photos");
    let photos: usize =
        kinds.iter().flat_map(|(_, people)| people).map(|(_, photos)| photos.len()).sum();
    bar.iter().for_each(|bar| bar.set_length(photos as u64));
    let judge = |path: &std::path::PathBuf| {
        bar.iter().for_each(|bar| bar.inc(1));
        evaluate::judge(&vision, folder::read(path).unwrap_or_default(), &recognition).ok()
    };
    let mut found = Vec::new();
    for (name, people) in &kinds {
        let scores = |photos: &Vec<_>| photos.iter().map(judge).collect::<Vec<Option<f32>>>();
        let judged: Vec<_> = people.iter().map(|(_, photos)| scores(photos)).collect();
        let not_judged = judged.iter().flatten().filter(|score| score.is_none()).count();
        let people = judged.into_iter().map(|scores| scores.into_iter().flatten().collect());
        found.push(Shown { name: name.clone(), people: people.collect(), not_judged });
    }
    bar.iter().for_each(indicatif::ProgressBar::finish_and_clear);
    let (live, materials): (Vec<_>, Vec<_>) = found.iter().partition(|shown| shown.name == LIVE);
    let live = live.into_iter().map(|shown| kind(shown, true)).next();
    let report = Report {
        model: file_name(&models.liveness.file),
        sha256: models.liveness.sha256.clone(),
        threshold: THRESHOLD,
        live: live.context("no folder of living people")?,
        materials: materials.into_iter().map(|shown| kind(shown, false)).collect(),
        remark: NO_CLAIM,
    };
    context.print(&report, |_| report.table())?;
    Ok(ExitCode::SUCCESS)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn kind(shown: &Shown, live: bool) -> Kind {
    let Mistaken { people, judged, share } = evaluate::mistaken(shown, live, THRESHOLD);
    let found = share.as_ref().and_then(rate);
    let (bpcer, apcer) = if live { (found, None) } else { (None, found) };
    let (name, not_judged) = (shown.name.clone(), shown.not_judged);
    let interval = share.as_ref().and_then(interval);
    Kind { name, people, judged, not_judged, bpcer, apcer, interval }
}

impl Report {
    fn table(&self) -> String {
        let row = |kind: &Kind| {
            let what =
                if kind.name == LIVE { "taken for photos (BPCER)" } else { "let through (APCER)" };
            let share = shown(kind.bpcer.or(kind.apcer), kind.interval, "no photo was judged");
            let count = |count: usize| count.to_string();
            vec![
                kind.name.clone(),
                count(kind.people),
                count(kind.judged),
                count(kind.not_judged),
                what.to_owned(),
                share,
            ]
        };
        let rows = [&self.live].into_iter().chain(&self.materials).map(row);
        let head =
            ["shown", "people", "judged", "not judged", "mistaken", "% [95 % interval by person]"];
        let materials = counted(self.materials.len() as u64, "material");
        format!(
            "{} at {}, {materials}\n\n{}\n\n{}\n",
            self.model,
            self.threshold,
            table(&head, rows),
            self.remark
        )
    }
}
