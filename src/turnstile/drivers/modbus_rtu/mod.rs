//! `modbus-rtu`: a relay board. Its coils release the arm, and its inputs report passages.

mod codec;
mod config;
mod device;
mod driver;

pub use self::{config::ModbusRtu, driver::ModbusTurnstile};
use crate::turnstile::simulation::Board;

/// Creates a simulated relay board.
pub fn board(address: u8) -> Box<dyn Board> {
    Box::new(device::Slave::new(address))
}
