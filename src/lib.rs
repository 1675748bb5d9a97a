//! Gatehouse: the program in the box at a construction site's gate.

pub mod camera;
pub mod clock;
pub mod config;
pub mod turnstile;
