//! The upstream of the upload benchmarks: reads every body to its end before it answers.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::cores;

pub fn run(listen: SocketAddr) -> Result<(), String> {
    cores::serve(listen, || {
        |stream: TcpStream| async move {
            // A client that leaves is no event here.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        }
    })
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut answer = Response::new(Full::from("{\"read\":true}"));
    while let Some(frame) = request.body_mut().frame().await {
        if frame.is_err() {
            *answer.status_mut() = StatusCode::BAD_REQUEST;
            break;
        }
    }
    Ok(answer)
}
