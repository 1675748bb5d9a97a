//! Evidence packages: a worker's entries with proofs that they stand in the gateway's ledger.
//!
//! In: entries, proofs and signed heads, or a package's bytes. Out: a package, or what it proves, or
//! a sheet of paper about it. [`verify`] needs nothing but the package. `collect` reads the ledger; everything else is pure.

mod collect;
mod health;
mod package;
mod sheet;
mod verify;

pub use self::{
    collect::{Period, collect, outages, size},
    health::{Journal, Lost, Outage, OutageShown},
    package::{MADE_BYTES, MOST_BYTES, Opened, Package, Proved},
    sheet::{NoSheet, code, escaped, sheet},
    verify::{Anchor, Gap, Known, Refused, Report, verify},
};

#[cfg(test)]
mod tests;
