//! How far an import is, on stderr: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};

use super::outcome::{Done, rate};
use crate::figures::counted;

/// Maximum number of lines where there is no bar.
const LINES: usize = 10;

pub(super) struct Progress {
    bar: Option<ProgressBar>,
    rows: usize,
    done: usize,
    failed: usize,
    photos: usize,
}

impl Progress {
    pub(super) fn begin(rows: usize) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(rows as u64);
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}, {eta} left");
            if let Ok(style) = style {
                bar.set_style(style);
            }
            bar
        });
        Progress { bar, rows, done: 0, failed: 0, photos: 0 }
    }

    /// A row is through, with so many photos, so long after the beginning.
    pub(super) fn row(&mut self, row: &Done, photos: usize, seconds: f64) {
        self.done += 1;
        self.failed += usize::from(!row.well());
        if row.well() {
            self.photos += photos;
        }
        let rate = rate(self.photos, seconds);
        match &self.bar {
            Some(bar) => {
                bar.set_message(format!("{} failed, {rate:.1} photos/s", self.failed));
                bar.inc(1);
            }
            None => {
                let tenth = |done: usize| done * LINES / self.rows.max(1);
                if tenth(self.done) > tenth(self.done - 1) {
                    eprintln!(
                        "{}/{}, {} failed, {rate:.1} photos/s",
                        self.done,
                        counted(self.rows, "row"),
                        self.failed
                    );
                }
            }
        }
    }

    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Photos of the rows that went well.
    pub(super) fn photos(&self) -> usize {
        self.photos
    }
}
