//! The progress and the counts of an import. Progress goes to stderr: a bar on a terminal, plain
//! lines elsewhere.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};

use super::outcome::Done;
use crate::{
    clock::{Clock as _, Monotonic, SystemClock},
    words::counted,
};

/// Maximum number of progress lines without a bar.
const LINES: usize = 10;

pub(super) struct Progress {
    clock: SystemClock,
    began: Monotonic,
    bar: Option<ProgressBar>,
    rows: usize,
    /// Number of finished rows by result, in the order of `Word`.
    of: [usize; 5],
    without_photo: usize,
    /// Number of photos of the successful rows.
    photos: usize,
}

impl Progress {
    pub(super) fn begin(rows: usize) -> anyhow::Result<Progress> {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(rows as u64);
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}, {eta} left");
            if let Ok(style) = style {
                bar.set_style(style);
            }
            bar
        });
        let clock = SystemClock::new()?;
        let began = clock.monotonic();
        Ok(Progress { clock, began, bar, rows, of: [0; 5], without_photo: 0, photos: 0 })
    }

    /// Counts a finished row and its examined photos, and shows the progress.
    pub(super) fn row(&mut self, row: &Done, photos: usize) {
        self.of[row.outcome.result as usize] += 1;
        self.without_photo += usize::from(row.outcome.templates == Some(0));
        self.photos += if row.well() { photos } else { 0 };
        let [.., refused, not_done] = self.of;
        let how = format!("{} failed, {:.1} photos/s", refused + not_done, self.rate().1);
        if let Some(bar) = &self.bar {
            bar.set_message(how);
            bar.inc(1);
            return;
        }
        let done: usize = self.of.iter().sum();
        let tenth = |done: usize| done * LINES / self.rows.max(1);
        if tenth(done) > tenth(done - 1) {
            eprintln!("{done}/{}, {how}", counted(self.rows, "row"));
        }
    }

    /// Returns the elapsed seconds, and the photos a second.
    fn rate(&self) -> (f64, f64) {
        let seconds = self.clock.monotonic().since(self.began).as_secs_f64();
        (seconds, if seconds > 0.0 { self.photos as f64 / seconds } else { 0.0 })
    }

    pub(super) fn all_well(&self) -> bool {
        let [.., refused, not_done] = self.of;
        refused == 0 && not_done == 0
    }

    /// Removes the bar and returns the counts as text. `passed_over`: skipped lines without
    /// workers.
    pub(super) fn end(&self, dry_run: bool, passed_over: usize) -> String {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let [enrolled, updated, unchanged, refused, not_done] = self.of;
        let dry = if dry_run { "dry run, nothing is changed: " } else { "" };
        let mut rest = if not_done > 0 { format!(", {not_done} not done") } else { String::new() };
        if passed_over > 0 {
            rest += &format!("; {} skipped", counted(passed_over, "line"));
        }
        let (seconds, rate) = self.rate();
        format!(
            "{dry}{}: {enrolled} enrolled, {updated} updated, {unchanged} unchanged, {refused} \
             refused{rest}; {} without a photo; {seconds:.1} s, {rate:.1} photos a second",
            counted(self.rows, "row"),
            self.without_photo,
        )
    }
}
