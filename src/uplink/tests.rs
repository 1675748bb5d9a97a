//! Tests of the uplink together with the store and the ledger.

pub mod link;
mod survival;
