//! Who passes, and when the turnstile may open.
//!
//! In: frames from the cameras' slots, requests for a release by hand, the turnstile's events.
//! Out: ledger entries, and releases in answer to their commits. `visit` (who stands there), `policy`
//! and `passage` decide and touch nothing; `vision_pool` (the vision workers) and `lane` (a task a lane)
//! carry it out.

pub mod claim;
pub mod lane;
pub mod passage;
pub mod policy;
pub mod vision_pool;
pub mod visit;
