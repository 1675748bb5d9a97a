//! The gate: decides on each claim, and releases the turnstile.
//!
//! In: frames from the cameras' slots, requests for a manual release, the turnstile's events.
//! Out: ledger entries, and releases in answer to their commits. `visit` (agreement of sightings),
//! `policy` and `passage` decide and touch nothing; `pace` has their timeouts, `refusal` their
//! sentences, and `codes` the rules of codes in QR. `presentations` keeps the usual liveness scores of a
//! camera, and `guarding` sends low visits to the guard. `vision_pool` (the vision workers), `reader` (one task for
//! each reader) and `lane` (one task for each lane) carry out the
//! decisions.

pub mod claim;
pub mod codes;
pub mod guarding;
pub mod lane;
pub mod pace;
pub mod passage;
pub mod policy;
pub mod presentations;
pub mod reader;
mod refusal;
pub mod vision_pool;
pub mod visit;

pub use self::refusal::Refusal;
