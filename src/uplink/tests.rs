//! Tests of the uplink together with the store and the ledger.

mod survival;
