//! `httpbin` (PyPI), an upstream that shows what it was sent.

use crate::process::{Helper, python};

pub struct Httpbin {
    helper: Helper,
}

impl Httpbin {
    /// Starts one on a free loopback port; it ends when this value is dropped.
    pub fn start() -> Self {
        Self { helper: Helper::start(&mut python("httpbin_server.py")) }
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn url(&self) -> String {
        self.helper.said("url")
    }

    pub fn port(&self) -> u16 {
        self.url().rsplit(':').next().and_then(|port| port.parse().ok()).expect("the URL ends with a port")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shows_what_it_was_sent() {
        let httpbin = Httpbin::start();
        let answer = crate::http::get(&format!("{}/get?a=1", httpbin.url()), &[("x-key", "k")]);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json()["args"]["a"], "1");
        assert_eq!(answer.json()["headers"]["X-Key"], "k");
        let port = httpbin.port();
        drop(httpbin);
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}
