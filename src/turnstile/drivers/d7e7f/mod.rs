//! `7e7f`: a controller that answers each command with its state and counts passages.

mod codec;
#[cfg(any(test, feature = "failpoints"))]
mod device;
mod driver;

pub use self::driver::CountingTurnstile;
