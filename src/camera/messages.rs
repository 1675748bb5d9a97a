//! The connection to an RTSP camera, and the messages on it (RFC 2326).
//!
//! In: a camera's bytes. Out: its answers, its packets and its own requests. It touches the one
//! connection.

use std::net::IpAddr;

use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use url::Url;

use super::{
    head::{HEAD_MAX, Head, read_body, read_line, read_rest},
    link::Unopened,
};

/// The port of RTSP (RFC 2326, 3.2).
const RTSP_PORT: u16 = 554;

/// An open connection.
pub(super) struct Camera {
    pub from: BufReader<OwnedReadHalf>,
    pub to: OwnedWriteHalf,
    /// Number of the last request.
    pub cseq: u32,
    /// The address of this machine on the connection.
    pub here: IpAddr,
    /// The camera's address.
    pub there: IpAddr,
}

impl Camera {
    pub async fn connect(url: &Url) -> Result<Camera, Unopened> {
        let fault = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::ConnectionRefused => format!(
                "the camera cannot be reached: {e}; check that RTSP is switched on in its settings, \
                 and the port (usually 554)"
            ),
            _ => format!(
                "the camera cannot be reached: {e}; check that it is on and that this machine can \
                 reach it"
            ),
        };
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = url.port().unwrap_or(RTSP_PORT);
        let stream = TcpStream::connect((host, port)).await.map_err(fault)?;
        let here = stream.local_addr().map_err(fault)?.ip();
        let there = stream.peer_addr().map_err(fault)?.ip();
        let (from, to) = stream.into_split();
        Ok(Camera { from: BufReader::new(from), to, cseq: 0, here, there })
    }
}

/// What comes from a camera.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// An answer, with its body.
    Answer(Head, Vec<u8>),
    /// A packet, with its channel.
    Packet(u8, Vec<u8>),
    /// A request of the camera's own.
    Request(Head),
}

/// Reads the next message. Bytes between messages are passed over, at most
/// [`HEAD_MAX`]. An answer to DESCRIBE (`describing`) has a body also where it has no
/// length.
pub(super) async fn read_message(
    from: &mut (impl AsyncBufRead + Unpin),
    describing: bool,
) -> Result<Message, Unopened> {
    let mut passed = 0;
    loop {
        if passed > HEAD_MAX {
            return Err(not_rtsp(b""));
        }
        let Some(&byte) = from.fill_buf().await.map_err(gone)?.first() else {
            return Err(if passed > 0 { not_rtsp(b"") } else { Unopened::Ended });
        };
        if byte == b'$' {
            let mut start = [0; 4];
            from.read_exact(&mut start).await.map_err(gone)?;
            let [_, channel, high, low] = start;
            let mut packet = vec![0; u16::from_be_bytes([high, low]).into()];
            from.read_exact(&mut packet).await.map_err(gone)?;
            return Ok(Message::Packet(channel, packet));
        }
        if !byte.is_ascii_alphabetic() {
            from.consume(1);
            passed += 1;
            continue;
        }
        let mut bytes = Vec::new();
        read_line(from, &mut bytes).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof if !bytes.is_empty() => not_rtsp(b""),
            _ => gone(error),
        })?;
        let first = Head::parse(&bytes);
        let is_request = first.first.to_ascii_uppercase().ends_with(" RTSP/1.0");
        if !is_request && first.status("RTSP").is_none() {
            if bytes.starts_with(b"HTTP/") {
                return Err(not_rtsp(&bytes));
            }
            passed += bytes.len();
            continue;
        }
        read_rest(from, &mut bytes).await.map_err(gone)?;
        let parsed = Head::parse(&bytes);
        let length = parsed.content_length();
        let is_done = |(status, _): (u16, &str)| (200..300).contains(&status);
        let describes = describing && parsed.status("RTSP").is_some_and(is_done);
        let body = match length {
            None if !describes => Vec::new(),
            length => read_body(from, length).await.map_err(gone)?,
        };
        return Ok(match is_request {
            true => Message::Request(parsed),
            false => Message::Answer(parsed, body),
        });
    }
}

fn not_rtsp(line: &[u8]) -> Unopened {
    let what = match line.starts_with(b"HTTP/") {
        true => "speaks HTTP, and not RTSP; give the port of RTSP (usually 554)",
        false => "does not speak RTSP; check the address and the port (usually 554)",
    };
    format!("what answers at this address {what}").into()
}

/// Reads a request of retina's.
pub(super) async fn read_request(from: &mut BufReader<OwnedReadHalf>) -> std::io::Result<Head> {
    let mut head = Vec::new();
    read_line(from, &mut head).await?;
    read_rest(from, &mut head).await?;
    Ok(Head::parse(&head))
}

/// Returns the answer to a request of the camera's own.
pub(super) fn own_answer(request: &Head) -> String {
    let is_keepalive = ["OPTIONS ", "GET_PARAMETER ", "SET_PARAMETER "];
    let status = match is_keepalive.iter().any(|method| request.first.starts_with(method)) {
        true => "200 OK",
        false => "501 Not Implemented",
    };
    format!("RTSP/1.0 {status}\r\nCSeq: {}\r\n\r\n", request.get("CSeq").unwrap_or("0"))
}

/// The order of a stream's packets. retina ends a session whose packets go back, so that late ones
/// are dropped here.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The number after that of the last packet.
    next: Option<u16>,
    /// Number of late packets in a row.
    late: u32,
}

/// Maximum number of late packets in a row. Then the camera counts from another number.
const LATE: u32 = 100;

impl Order {
    /// Returns whether a packet is whole, of RTP, and follows those before it.
    pub fn takes(&mut self, packet: &[u8]) -> bool {
        let [_, _, high, low, ..] = packet else { return false };
        let number = u16::from_be_bytes([*high, *low]);
        if !is_rtp(packet) {
            return false;
        }
        let is_late = self.next.is_some_and(|next| number.wrapping_sub(next) >= 0x8000);
        self.late = if is_late { self.late + 1 } else { 0 };
        if is_late && self.late <= LATE {
            return false;
        }
        self.next = Some(number.wrapping_add(1));
        true
    }
}

/// Returns whether a packet is whole and of RTP (RFC 3550, 5.1). retina ends a session on any other.
fn is_rtp(packet: &[u8]) -> bool {
    let [first, _, _, _, _, _, _, _, _, _, _, _, rest @ ..] = packet else { return false };
    let Some(rest) = rest.get(usize::from(first & 15) * 4..) else { return false };
    let rest = match (first & 16, rest) {
        (0, rest) => Some(rest),
        (_, [_, _, high, low, rest @ ..]) => {
            rest.get(usize::from(u16::from_be_bytes([*high, *low])) * 4..)
        }
        _ => None,
    };
    let padding = match first & 32 {
        0 => Some(0),
        _ => packet.last().copied().filter(|padding| *padding > 0),
    };
    let fits = |rest: &[u8]| padding.is_some_and(|padding| usize::from(padding) <= rest.len());
    first >> 6 == 2 && rest.is_some_and(fits)
}

/// Returns a packet as data between messages (RFC 2326, 10.12), on retina's channel.
pub(super) fn interleaved(packet: &[u8]) -> Vec<u8> {
    let length = u16::try_from(packet.len()).unwrap_or(u16::MAX);
    let packet = packet.get(..length.into()).unwrap_or_default();
    [&[b'$', 0][..], &length.to_be_bytes(), packet].concat()
}

/// Returns what the end of a connection means.
pub(super) fn gone(error: std::io::Error) -> Unopened {
    match error.kind() {
        std::io::ErrorKind::InvalidData => {
            "the camera sends a head without end; check the address and the port".to_owned().into()
        }
        _ => Unopened::Ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(first: u8, number: u16, rest: &[u8]) -> Vec<u8> {
        [&[first, 96][..], &number.to_be_bytes(), &[0; 8], rest].concat()
    }

    #[test]
    fn only_whole_packets_of_rtp_go_to_retina() {
        for good in [
            packet(0x80, 1, b""),
            packet(0x81, 1, b"csrc"),
            packet(0x90, 1, &[0, 0, 0, 1, 1, 2, 3, 4, 5]),
            packet(0xa0, 1, &[9, 9, 2]),
        ] {
            assert!(Order::default().takes(&good), "{good:?}");
        }
        for bad in [
            b"yz".to_vec(),
            packet(0x40, 1, b"x"),
            packet(0x81, 1, b"src"),
            packet(0x90, 1, &[0, 0, 0, 2, 1, 2, 3, 4]),
            packet(0x90, 1, &[0, 0]),
            packet(0xa0, 1, &[9, 4]),
            packet(0xa0, 1, &[9, 0]),
        ] {
            assert!(!Order::default().takes(&bad), "{bad:?}");
        }
    }

    #[test]
    fn a_late_packet_is_dropped_and_the_numbers_may_begin_again() {
        let mut order = Order::default();
        let numbers = [65_533, 65_535, 65_534, 65_535, 0, 2, 1, 3_u16];
        let mut kept = numbers.to_vec();
        kept.retain(|number| order.takes(&packet(0x80, *number, b"")));
        assert_eq!(kept, [65_533, 65_535, 0, 2, 3]);
        // The camera's encoder has started again.
        let late = (40_000..).take_while(|number| !order.takes(&packet(0x80, *number, b"")));
        assert_eq!(late.count(), LATE as usize);
        assert!(order.takes(&packet(0x80, 40_101, b"")));
    }
}
