use std::os::fd::AsRawFd;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::clock::SystemClock;

async fn said(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn i10_a_listener_that_fails_is_opened_again_and_reported_as_down_until_then() {
    let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (address, fd) = (listener.local_addr().unwrap(), listener.as_raw_fd());
    let (down, mut watched) = watch::channel(None);
    let serving = tokio::spawn(async move {
        let clock = SystemClock::new().unwrap();
        let page: Page = Arc::new(|| Box::pin(async { Ok("page".to_owned()) }));
        keep_serving(address, Ok(listener), &page, &clock, &down, &CancellationToken::new()).await;
    });
    let get = "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
    let answer = said(address, get).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\npage"), "{answer}");
    // SAFETY: the socket is the listener's, which lives in the task.
    assert_eq!(unsafe { libc::shutdown(fd, libc::SHUT_RDWR) }, 0);
    let error = watched.wait_for(Option::is_some).await.unwrap().clone().unwrap().error;
    assert!(error.starts_with(&address.to_string()), "{error}");
    watched.wait_for(Option::is_none).await.unwrap();
    assert!(said(address, get).await.ends_with("page"));
    serving.abort();
}

#[tokio::test]
async fn only_the_metrics_page_is_served() {
    let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let page: Page = Arc::new(|| Box::pin(async { Ok("page".to_owned()) }));
        serve(listener, &page, &CancellationToken::new()).await
    });
    let large = format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(2 * HEAD_MAX));
    for (request, expected) in [
        ("HEAD /metrics HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 200"),
        ("GET / HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 404"),
        ("GET /metrics/../ HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 404"),
        ("POST /metrics HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 405"),
        ("DELETE /metrics HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 405"),
        ("\x16\x03\x01\r\n\r\n", "HTTP/1.1 400"),
        (&large, "HTTP/1.1 431"),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The answer to the large request comes before the whole request is written.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&first), expected, "{request:.60}");
    }
    serving.abort();
}
