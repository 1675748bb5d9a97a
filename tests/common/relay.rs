//! An eavesdropper between the gateway and its broker, who records every byte.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// Forwards connections to another port of this machine. Its threads end with the connections.
pub struct Relay {
    pub port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Relay {
    pub fn to(port: u16) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Relay { port: listener.local_addr().unwrap().port(), heard: Arc::default() };
        let heard = relay.heard.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(broker) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let back = (broker.try_clone().unwrap(), client.try_clone().unwrap());
                for (from, to) in [(client, broker), back] {
                    let heard = heard.clone();
                    std::thread::spawn(move || pass_on(from, to, &heard));
                }
            }
        });
        relay
    }

    /// Returns all bytes so far, in both directions.
    pub fn heard(&self) -> Vec<u8> {
        self.heard.lock().unwrap().clone()
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, heard: &Mutex<Vec<u8>>) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        heard.lock().unwrap().extend(&bytes[..length]);
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

pub fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    assert!(!needle.is_empty());
    bytes.windows(needle.len()).any(|window| window == needle)
}
