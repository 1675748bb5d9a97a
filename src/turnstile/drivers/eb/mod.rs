//! `eb`: a tripod controller that takes commands and never answers.

mod codec;
#[cfg(any(test, feature = "failpoints"))]
mod device;
mod driver;

pub use self::driver::OneWayTurnstile;
