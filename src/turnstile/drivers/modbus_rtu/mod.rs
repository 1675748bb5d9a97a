//! `modbus-rtu`: a relay board, whose coils release and whose inputs report passages.

pub mod codec;
mod config;
mod device;
mod driver;

pub use self::{config::ModbusRtu, driver::ModbusTurnstile};
use super::kind::{Driver, Means};
use crate::turnstile::simulation::Board;

pub struct Kind;

impl Driver for Kind {
    const WORD: &str = "modbus-rtu";
    type Config = ModbusRtu;
    type Turnstile = ModbusTurnstile;

    fn turnstile(config: &ModbusRtu, means: &Means) -> ModbusTurnstile {
        ModbusTurnstile::new(config.clone(), means.buses.port(&config.line))
    }

    #[cfg(any(test, feature = "failpoints"))]
    fn board(address: u8) -> Box<dyn Board> {
        board(address)
    }
}

/// A simulated relay board.
pub fn board(address: u8) -> Box<dyn Board> {
    Box::new(device::Slave::new(address))
}
