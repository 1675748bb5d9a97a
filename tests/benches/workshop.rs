//! Code shared by the benches and `gatehouse bench`: invented workers, their passages, and times.
#![allow(dead_code, unused_imports, reason = "no bench uses all of it")]

pub use gatehouse::cli::bench::{
    Times,
    crowd::{fill, grant, person},
};

pub fn median(all: &[f64]) -> f64 {
    let mut all = all.to_vec();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}
