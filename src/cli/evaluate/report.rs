//! The result of a measurement, as JSON and as tables.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::{super::table, NAMED, Unusable};
use crate::{
    evaluate::{At, AtGate, Counts, Identification, Lacks, Measured, Verification},
    words::counted,
};

#[derive(Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    counts: Counts,
    /// Number of readable photos in which the gate's camera would find no face.
    failed_to_detect: usize,
    /// Number of photos without a template by reason, as a frame and as an enrolment photo.
    not_seen: BTreeMap<&'static str, usize>,
    not_enrolled: BTreeMap<&'static str, usize>,
    unusable: Vec<Photo>,
    /// Each photo that is like one in another person's folder: the same photo, or the same person.
    same_photo: Vec<[String; 2]>,
    verification: OneToOne,
    identification: Vec<OneToMany>,
}

#[derive(Serialize)]
struct Photo {
    photo: String,
    not_seen: Option<&'static str>,
    not_enrolled: Option<&'static str>,
}

/// A rate between 0 and 1; JSON has six decimals.
#[derive(Clone, Copy)]
pub(super) struct Rate(f64);

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64((self.0 * 1e6).round() / 1e6)
    }
}

type Rates<T> = BTreeMap<&'static str, T>;

#[derive(Serialize)]
struct OneToOne {
    own_pairs: usize,
    other_pairs: usize,
    eer: Option<Rate>,
    eer_interval: Option<[Rate; 2]>,
    /// Null where the number of pairs is too small; see `needs_pairs`.
    tar_at_far: Rates<Option<Rate>>,
    tar_interval: Rates<[Rate; 2]>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    needs_pairs: Rates<usize>,
}

#[derive(Serialize)]
struct OneToMany {
    gallery: usize,
    photos: usize,
    fnir_at_fpir: Rates<Option<Rate>>,
    fnir_interval: Rates<[Rate; 2]>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    needs_looks: Rates<usize>,
    /// The thresholds that were found, and the share of other strangers who reach them.
    threshold: Rates<Rate>,
    fpir: Rates<Rate>,
    at_gate: Gate,
}

#[derive(Serialize)]
struct Gate {
    threshold: Rate,
    fpir: Option<Rate>,
    fpir_interval: Option<[Rate; 2]>,
    fnir: Option<Rate>,
    fnir_interval: Option<[Rate; 2]>,
}

pub(super) fn rate(measured: &Measured) -> Option<Rate> {
    measured.rate().map(Rate)
}

pub(super) fn interval(measured: &Measured) -> Option<[Rate; 2]> {
    match measured {
        Measured::Rate { interval, .. } => Some(interval.map(Rate)),
        Measured::Needs(_) => None,
    }
}

fn needs(measured: &Measured) -> Option<usize> {
    match measured {
        Measured::Rate { .. } => None,
        Measured::Needs(least) => Some(*least),
    }
}

fn all<T>(rates: &[At], of: impl Fn(&Measured) -> Option<T>) -> Rates<T> {
    rates.iter().filter_map(|at| Some((at.name, of(&at.found)?))).collect()
}

impl From<&Verification> for OneToOne {
    fn from(found: &Verification) -> OneToOne {
        let tar = &found.tar_at_far;
        OneToOne {
            own_pairs: found.own_pairs,
            other_pairs: found.other_pairs,
            eer: rate(&found.eer),
            eer_interval: interval(&found.eer),
            tar_at_far: all(tar, |measured| Some(rate(measured))),
            tar_interval: all(tar, interval),
            needs_pairs: all(tar, needs),
        }
    }
}

impl From<&Identification> for OneToMany {
    fn from(found: &Identification) -> OneToMany {
        let fnir = &found.fnir_at_fpir;
        let known = || fnir.iter().zip(&found.found).filter(|(at, _)| at.found.rate().is_some());
        OneToMany {
            gallery: found.gallery,
            photos: found.photos,
            fnir_at_fpir: all(fnir, |measured| Some(rate(measured))),
            fnir_interval: all(fnir, interval),
            // A threshold is found on half of the strangers, and reported on the others.
            needs_looks: all(fnir, |found| needs(found).map(|least| 2 * least)),
            threshold: known().map(|(at, (threshold, _))| (at.name, Rate(*threshold))).collect(),
            fpir: known().map(|(at, (_, fpir))| (at.name, Rate(*fpir))).collect(),
            at_gate: (&found.at_gate).into(),
        }
    }
}

impl From<&AtGate> for Gate {
    fn from(found: &AtGate) -> Gate {
        Gate {
            threshold: Rate(found.threshold.cosine().into()),
            fpir: rate(&found.fpir),
            fpir_interval: interval(&found.fpir),
            fnir: rate(&found.fnir),
            fnir_interval: interval(&found.fnir),
        }
    }
}

impl Report {
    pub(super) fn new(
        counts: Counts,
        unusable: &[Unusable],
        same_photo: Vec<[String; 2]>,
        verification: &Verification,
        identification: &[Identification],
    ) -> Report {
        let by = |of: &dyn Fn(&Unusable) -> Option<Lacks>| {
            let mut counted = BTreeMap::new();
            for lacks in unusable.iter().filter_map(of) {
                *counted.entry(lacks.word()).or_default() += 1;
            }
            counted
        };
        let not_seen: BTreeMap<&'static str, usize> = by(&|photo| photo.not_seen);
        let photo = |photo: &Unusable| Photo {
            photo: photo.name.clone(),
            not_seen: photo.not_seen.map(Lacks::word),
            not_enrolled: photo.not_enrolled.map(Lacks::word),
        };
        Report {
            counts,
            failed_to_detect: not_seen.get(Lacks::NoFace.word()).copied().unwrap_or(0),
            not_seen,
            not_enrolled: by(&|photo| photo.not_enrolled),
            unusable: unusable.iter().map(photo).collect(),
            same_photo,
            verification: verification.into(),
            identification: identification.iter().map(Into::into).collect(),
        }
    }

    /// Returns the tables for people. All rates are in percent.
    pub(super) fn table(&self) -> String {
        let Report { counts, failed_to_detect, verification, .. } = self;
        let mut text = format!(
            "{} of {}: {} can enroll, {} can pass; no face was found in {failed_to_detect}.\n\n",
            counted(counts.photos, "photo"),
            counted(counts.people, "person").replace("persons", "people"),
            counts.enrolled,
            counts.seen,
        );
        text += &self.same_photos();
        text += &format!(
            "One photo against one photo (1:1): {} of one person, {} of two people\n\n",
            counted(verification.own_pairs, "pair"),
            verification.other_pairs
        );
        let row = |name: String, rate: Option<Rate>, interval: Option<[Rate; 2]>, needs: String| {
            vec![name, shown(rate, interval, &needs)]
        };
        let mut rows = vec![row(
            "equal error rate (EER)".to_owned(),
            verification.eer,
            verification.eer_interval,
            "needs a person with two photos".to_owned(),
        )];
        for (far, tar) in verification.tar_at_far.iter().rev() {
            let least = verification.needs_pairs.get(far).copied().unwrap_or(0);
            rows.push(row(
                format!("accepted of one person (TAR) at FAR {far}"),
                *tar,
                verification.tar_interval.get(far).copied(),
                match verification.own_pairs {
                    0 => "needs a person with two photos".to_owned(),
                    _ => format!("needs at least {least} pairs of two people"),
                },
            ));
        }
        text += &table(&["", "% [95 % interval by person]"], rows);
        text +=
            "\n\nOne photo against a roster (1:N): workers missed (FNIR), % [95 % interval]\n\n";
        let rows = self.identification.iter().map(|found| {
            let fnir = |fpir: &'static str| {
                let least = found.needs_looks.get(fpir).copied().unwrap_or(0);
                let needs = format!("needs at least {least} looks at strangers");
                let interval = found.fnir_interval.get(fpir).copied();
                let shown =
                    shown(found.fnir_at_fpir.get(fpir).copied().flatten(), interval, &needs);
                match (found.threshold.get(fpir), found.fpir.get(fpir)) {
                    (Some(threshold), Some(let_in)) => {
                        format!("{shown} ({:.3}; {:.2})", threshold.0, 100.0 * let_in.0)
                    }
                    _ => shown,
                }
            };
            let gate = &found.at_gate;
            vec![
                found.gallery.to_string(),
                found.photos.to_string(),
                fnir("0.01"),
                fnir("0.003"),
                format!("{:.3}", gate.threshold.0),
                shown(gate.fpir, gate.fpir_interval, "-"),
                shown(gate.fnir, gate.fnir_interval, "-"),
            ]
        });
        let head = [
            "workers",
            "photos",
            "at FPIR 1 % (threshold; let in)",
            "at FPIR 0.3 % (threshold; let in)",
            "gate's threshold",
            "strangers let in",
            "workers missed",
        ];
        if self.identification.is_empty() {
            return text + "needs four people, and two photos of each\n";
        }
        text + &table(&head, rows)
    }
}

impl Report {
    /// Returns the warning of photos that are in the folders of two people.
    fn same_photos(&self) -> String {
        let pairs = self.same_photo.len();
        if pairs == 0 {
            return String::new();
        }
        let mut text = format!(
            "WARNING: in the folders of two people, the same photo or the same person ({}). Each counts \
             as a stranger who is taken for a worker, so the rates are too high. Remove one \
             photo of each pair, or put the folders of one person together:\n",
            counted(pairs, "pair")
        );
        for [first, copy] in self.same_photo.iter().take(NAMED) {
            text += &format!("  {first} and {copy}\n");
        }
        if pairs > NAMED {
            text += &format!("  and {} more: see same_photo in --json\n", pairs - NAMED);
        }
        text + "\n"
    }
}

/// Returns a rate in percent with its interval, or what it needs.
pub(super) fn shown(rate: Option<Rate>, interval: Option<[Rate; 2]>, needs: &str) -> String {
    let percent = |rate: Rate| format!("{:.2}", rate.0 * 100.0);
    match (rate, interval) {
        (Some(rate), Some([from, to])) => {
            format!("{} [{}-{}]", percent(rate), percent(from), percent(to))
        }
        _ => needs.to_owned(),
    }
}
