//! Who passes, and when the turnstile may open.

pub mod passage;
pub mod policy;
