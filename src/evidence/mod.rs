//! Evidence packages: a worker's entries with proofs that they stand in the gateway's ledger.
//!
//! In: entries, proofs and signed heads, or a package's bytes. Out: a package, or what it proves.
//! [`verify`] needs nothing but the package. `collect` reads the ledger; everything else is pure.

mod collect;
mod health;
mod package;
mod verify;

pub use self::{
    collect::{Period, collect, outages},
    health::{Journal, Lost, Outage, OutageShown},
    package::{MOST_BYTES, Opened, Package, Proved},
    verify::{Anchor, Gap, Known, Refused, Report, verify},
};

#[cfg(test)]
mod tests;
