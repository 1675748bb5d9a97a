//! The uplink together with the store and the ledger.

mod survival;
