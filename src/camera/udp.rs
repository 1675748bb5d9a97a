//! A camera's packets over UDP. They go to retina as interleaved data.
//!
//! In: datagrams from the camera's address. Out: packets. It touches two ports. Reports (RTCP) are
//! not needed. Their port is open, so that the camera gets no error.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::{
    io::AsyncWriteExt,
    net::{UdpSocket, tcp::OwnedWriteHalf},
    sync::Mutex,
};

use super::{
    link::Unopened,
    messages::{Order, gone, interleaved},
};

/// Maximum number of attempts to find two free ports that follow each other.
const TRIES: usize = 32;

/// The ports of one stream.
pub(super) struct Udp {
    packets: UdpSocket,
    _reports: UdpSocket,
    port: u16,
    camera: IpAddr,
}

impl Udp {
    /// Opens an even port and the one after it (RFC 3550, 11).
    pub async fn open(here: IpAddr, camera: IpAddr) -> Result<Udp, Unopened> {
        let udp = Udp::bind(here, camera).await;
        udp.map_err(|e| format!("cannot open ports for the camera's packets: {e}").into())
    }

    async fn bind(here: IpAddr, camera: IpAddr) -> io::Result<Udp> {
        for _ in 0..TRIES {
            let packets = UdpSocket::bind((here, 0)).await?;
            let port = packets.local_addr()?.port();
            if port % 2 == 0
                && let Ok(reports) = UdpSocket::bind((here, port + 1)).await
            {
                return Ok(Udp { packets, _reports: reports, port, camera });
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    /// Returns the value of the header `Transport` that asks for packets at these ports.
    pub fn transport(&self) -> String {
        format!("RTP/AVP;unicast;client_port={}-{}", self.port, self.port + 1)
    }

    /// Sends an empty packet to the camera's port, so that a firewall lets its packets in.
    pub async fn greet(&self, server_port: Option<&str>) {
        const EMPTY: [u8; 12] = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let port = server_port.and_then(|ports| ports.split('-').next()?.trim().parse().ok());
        if let Some(port) = port {
            let _ = self.packets.send_to(&EMPTY, SocketAddr::new(self.camera, port)).await;
        }
    }
}

/// Sends the packets to retina. Without ports it waits forever.
pub(super) async fn packets(
    udp: Option<Udp>,
    to: &Mutex<&mut OwnedWriteHalf>,
    count: &AtomicU64,
) -> Result<(), Unopened> {
    let Some(udp) = udp else { return std::future::pending().await };
    let (mut buffer, mut order) = (vec![0; usize::from(u16::MAX)], Order::default());
    loop {
        // An error belongs to a packet that was sent before.
        let Ok((length, sender)) = udp.packets.recv_from(&mut buffer).await else { continue };
        let packet = buffer.get(..length).unwrap_or_default();
        if sender.ip() == udp.camera && order.takes(packet) {
            count.fetch_add(1, Ordering::Relaxed);
            to.lock().await.write_all(&interleaved(packet)).await.map_err(gone)?;
        }
    }
}
