//! The listener for the metrics: HTTP on the loopback interface, with one page.
//!
//! In: `GET /metrics`. Out: the page, made for each request. Connections, time and request size are
//! limited. There is no keep-alive: a client is served for at most [`TIMEOUT`]. A listener that
//! fails is opened again, and the rest of the gate continues to work (I10).

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

use super::{gather, metrics};
use crate::{
    clock::Clock,
    services::{ExporterDown, Services},
    supervision::Backoff,
};

/// Maximum number of concurrent connections. Further connections wait in the kernel's bounded
/// queue.
const PLACES: usize = 4;
/// Timeout after which a connection is closed.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum size of a request's head. A larger one gets the answer 431.
const HEAD_MAX: usize = 16 * 1024;

/// Makes the page.
type Page = Arc<dyn Fn() -> BoxFuture<'static, Result<String, fmt::Error>> + Send + Sync>;

/// Opens the listener.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves the metrics until cancelled. A listener that fails is opened again.
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
        Box::pin(async move { metrics::page(gather(&services).await) })
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
        let problem = format!("{address}: {error}; next try within 30 s");
        down.send_modify(|down| match down {
            Some(down) => down.error = problem,
            None => {
                // The log has one warning until the listener works again.
                tracing::warn!(%address, %error, "the metrics cannot be fetched");
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
            // The client closed the connection before it was accepted.
            Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(e) => return e,
        };
        let (page, cancel) = (page.clone(), cancel.clone());
        tokio::spawn(async move {
            let _place = place;
            tokio::select! {
                _ = cancel.cancelled() => {}
                _ = timeout(TIMEOUT, converse(stream, page)) => {}
            }
        });
    }
}

/// Serves one request. A client that hangs up or does not speak HTTP is not an error of the
/// listener.
async fn converse(stream: TcpStream, page: Page) {
    let service = service_fn(move |request| {
        let page = page.clone();
        async move { Ok::<_, Infallible>(answer(&request, &page).await) }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .auto_date_header(false)
        .max_buf_size(HEAD_MAX)
        // TIMEOUT limits the whole exchange.
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
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is allowed");
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
mod tests;
