//! `simulated`: a driver without hardware, for the bench and the demo.

mod config;
mod driver;

pub use self::{config::SimulatedTurnstile, driver::Simulated};
