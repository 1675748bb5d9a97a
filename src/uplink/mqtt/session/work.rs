//! What a connection has under way.

use std::{future::Future, pin::Pin};

use crate::uplink::{
    client::Message,
    delivery::{Fetch, Page},
    link::LinkError,
    profiles,
};

/// A row as it goes out.
pub struct Row {
    pub message: profiles::Message,
    pub resent: bool,
}

/// How many rows were struck off.
pub struct Struck {
    pub acknowledged: u64,
    pub left_out: u64,
}

/// What is no row and waits for room in the client.
pub enum Later {
    Receipt(Box<Message>),
    Reply(profiles::Message),
}

pub type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;
pub type PageRead = Work<Result<(Fetch, Page<Row>), LinkError>>;
pub type Answer = Work<(Box<Message>, Option<Vec<u8>>)>;

/// What is under way, if anything is; else it never comes.
pub async fn under_way<T>(work: &mut Option<Work<T>>) -> T {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}
