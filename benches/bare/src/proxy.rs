//! Forwards each request as it is; the one thing it may add is the Authorization header.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{AUTHORIZATION, CONNECTION, HeaderValue};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::cores;
use crate::pool::{Pool, Pooled};
use crate::sign::Signer;

/// What the proxy without a signer adds: as long as a real token.
const BEARER: &str = "Bearer bench-0123456789abcdef0123456789abcdef";

type Failure = Box<dyn std::error::Error + Send + Sync>;

struct Core {
    pool: Pool,
    signer: Option<Arc<Signer>>,
}

pub fn run(listen: SocketAddr, upstream: SocketAddr, signer: Option<Signer>) -> Result<(), String> {
    let signer = signer.map(Arc::new);
    cores::serve(listen, move || {
        let core = Rc::new(Core { pool: Pool::new(upstream), signer: signer.clone() });
        move |stream| connection(Rc::clone(&core), stream)
    })
}

async fn connection(core: Rc<Core>, stream: TcpStream) {
    let service = service_fn(move |request| forward(Rc::clone(&core), request));
    // A client that leaves is no event here.
    let _ = http1::Builder::new().pipeline_flush(true).serve_connection(TokioIo::new(stream), service).await;
}

async fn forward(core: Rc<Core>, mut request: Request<Incoming>) -> Result<Response<Pooled>, Failure> {
    let authorization = match &core.signer {
        Some(signer) => HeaderValue::from_str(&signer.bearer()?)?,
        None => HeaderValue::from_static(BEARER),
    };
    request.headers_mut().remove(CONNECTION);
    request.headers_mut().insert(AUTHORIZATION, authorization);
    let mut sender = core.pool.get().await?;
    let (mut head, body) = sender.send_request(request).await?.into_parts();
    head.headers.remove(CONNECTION);
    Ok(Response::from_parts(head, core.pool.body(sender, body)))
}
