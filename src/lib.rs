//! Gatehouse: the program in the box at a construction site's gate.

pub mod attendance;
pub mod camera;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod daemon;
pub mod gate;
pub mod ledger;
pub mod roster;
pub mod store;
pub mod turnstile;
pub mod uplink;
pub mod vision;
