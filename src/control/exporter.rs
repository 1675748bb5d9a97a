//! The listener for the metrics: HTTP on loopback, with one page and bounds on everything.
//!
//! In: `GET /metrics`. Out: the page, made anew for each request. No keep-alive: a place belongs
//! to nobody for longer than [`PATIENCE`]. When the listener fails it is opened anew, and nothing
//! else of the gate notices (I10).

use std::{convert::Infallible, fmt, io, net::SocketAddr, sync::Arc};

use futures_util::future::BoxFuture;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{Duration, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Services, metrics, status};
use crate::{
    clock::{Clock, Monotonic},
    vigil::Backoff,
};

/// Connections at once; the next one waits in the kernel's own bounded queue.
const PLACES: usize = 4;
/// A connection is cut after so long, whatever it is at.
const PATIENCE: Duration = Duration::from_secs(5);
/// A request's head; a larger one is answered 431.
const HEAD_MAX: usize = 16 * 1024;

/// Makes the page.
type Page = Arc<dyn Fn() -> BoxFuture<'static, Result<String, fmt::Error>> + Send + Sync>;

/// Why nobody can fetch the metrics.
#[derive(Clone, Debug)]
pub struct ExporterDown {
    pub since: Monotonic,
    pub error: String,
}

/// Takes the address, at the daemon's start.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves the metrics until cancelled, whatever happens to the listener.
pub async fn export(
    address: SocketAddr,
    listener: io::Result<TcpListener>,
    services: Arc<Services>,
    down: watch::Sender<Option<ExporterDown>>,
    cancel: CancellationToken,
) {
    let clock = services.clock.clone();
    let page: Page = Arc::new(move || {
        let services = services.clone();
        Box::pin(async move { metrics::page(status::gather(&services).await) })
    });
    tokio::select! {
        _ = cancel.cancelled() => {}
        () = keep_serving(address, listener, &page, &*clock, &down, &cancel) => {}
    }
}

async fn keep_serving(
    address: SocketAddr,
    listener: io::Result<TcpListener>,
    page: &Page,
    clock: &dyn Clock,
    down: &watch::Sender<Option<ExporterDown>>,
    cancel: &CancellationToken,
) {
    let mut opened = listener;
    let mut backoff = Backoff::default();
    loop {
        let began = clock.monotonic();
        let error = match opened {
            Ok(listener) => {
                down.send_replace(None);
                serve(listener, page, cancel).await
            }
            Err(error) => error,
        };
        let problem = format!("{address}: {error}; it is opened anew, every 30 s at least");
        down.send_modify(|down| match down {
            Some(down) => down.error = problem,
            None => {
                // The same trouble at each attempt is said once.
                tracing::warn!(%address, %error, "nobody can fetch the metrics");
                *down = Some(ExporterDown { since: clock.monotonic(), error: problem });
            }
        });
        sleep(backoff.after(clock.monotonic().since(began))).await;
        opened = listen(address).await;
    }
}

/// Serves one listener until it fails.
async fn serve(listener: TcpListener, page: &Page, cancel: &CancellationToken) -> io::Error {
    let places = Arc::new(Semaphore::new(PLACES));
    loop {
        let place = match places.clone().acquire_owned().await {
            Ok(place) => place,
            Err(closed) => return io::Error::other(closed),
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Gone again before its turn came.
            Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(e) => return e,
        };
        let (page, cancel) = (page.clone(), cancel.clone());
        tokio::spawn(async move {
            let _place = place;
            tokio::select! {
                _ = cancel.cancelled() => {}
                _ = timeout(PATIENCE, converse(stream, page)) => {}
            }
        });
    }
}

/// One request. Who hangs up or talks something else than HTTP is no trouble of ours.
async fn converse(stream: TcpStream, page: Page) {
    let service = service_fn(move |request| {
        let page = page.clone();
        async move { Ok::<_, Infallible>(answer(&request, &page).await) }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .auto_date_header(false)
        .max_buf_size(HEAD_MAX)
        // The whole exchange has a bound of its own.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a client of the metrics went away");
    }
}

async fn answer(request: &Request<Incoming>, page: &Page) -> Response<String> {
    let plain = |status, text: &str| {
        let mut response = Response::new(format!("{text}\n"));
        *response.status_mut() = status;
        response
    };
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "the metrics are at /metrics");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "GET alone is answered");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match page().await {
        Ok(text) => {
            let mut response = Response::new(text);
            let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

#[cfg(test)]
mod tests {
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
    async fn i10_a_listener_that_fails_is_opened_anew_and_said_to_be_down_meanwhile() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (address, fd) = (listener.local_addr().unwrap(), listener.as_raw_fd());
        let (down, mut watched) = watch::channel(None);
        let serving = tokio::spawn(async move {
            let clock = SystemClock::new().unwrap();
            let page: Page = Arc::new(|| Box::pin(async { Ok("page".to_owned()) }));
            keep_serving(address, Ok(listener), &page, &clock, &down, &CancellationToken::new())
                .await;
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
    async fn only_the_one_page_is_served() {
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
            // The large one is answered, and the rest of it refused, before all of it is written.
            let _ = stream.write_all(request.as_bytes()).await;
            let mut first = [0; 12];
            stream.read_exact(&mut first).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&first), expected, "{request:.60}");
        }
        serving.abort();
    }
}
