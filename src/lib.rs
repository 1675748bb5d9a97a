//! Gatehouse: the program in the box at a construction site's gate.
pub mod vision;
