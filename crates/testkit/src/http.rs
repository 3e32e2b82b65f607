//! The smallest HTTP client that can talk with the helper servers: blocking, one request per
//! connection, plain http to a loopback port. Not for the thing under test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case, in the order of the answer.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e} in {} {}", self.status, self.text()))
    }

    /// Every refusal of our own on `/proxy` that a caller can do something about says what. What an upstream
    /// answers is its own affair.
    #[track_caller]
    pub fn says_what_to_do(&self) {
        let ours = self.header("latchstring-error").is_some();
        if !ours || !(400..500).contains(&self.status) || self.body.is_empty() {
            return;
        }
        let problem = self.json();
        let hinted = problem["hint"].as_str().is_some_and(|hint| !hint.is_empty());
        // Beside each field that it points at stands what is right there.
        let pointed = problem["code"] == "invalid"
            && problem["errors"].as_array().is_some_and(|errors| !errors.is_empty());
        assert!(hinted || pointed, "a refusal without a hint: {problem}");
    }
}

pub fn get(url: &str, headers: &[(&str, &str)]) -> Answer {
    request("GET", url, headers, b"")
}

pub fn post_json(url: &str, body: &Value) -> Answer {
    request("POST", url, &[("content-type", "application/json")], body.to_string().as_bytes())
}

/// A form, already URL-encoded.
pub fn post_form(url: &str, headers: &[(&str, &str)], form: &str) -> Answer {
    let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
    all.extend(headers);
    request("POST", url, &all, form.as_bytes())
}

#[track_caller]
pub fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    try_request(method, url, headers, body).unwrap_or_else(|e| panic!("{method} {url}: {e}"))
}

/// An error is a connection that could not be had or broke off.
pub fn try_request(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Answer> {
    let rest = url.strip_prefix("http://").expect("helper servers speak plain http");
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let stream = TcpStream::connect(authority)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    over(stream, method, (authority, path), headers, body)
}

/// The same over a connection that is there, such as one with TLS.
pub fn over(
    mut stream: impl Read + Write,
    method: &str,
    (authority, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Answer> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" || method == "PUT" {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    stream.write_all(&[text.as_bytes(), body].concat())?;
    stream.flush()?;
    read_answer(&mut BufReader::new(stream))
}

fn broken(what: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned())
}

fn read_answer(from: &mut impl BufRead) -> std::io::Result<Answer> {
    let first = line(from)?;
    let status =
        first.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| broken("no status line"))?;
    let mut headers = Vec::new();
    loop {
        let text = line(from)?;
        if text.is_empty() {
            break;
        }
        let (name, value) = text.split_once(':').ok_or_else(|| broken("no header"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut answer = Answer { status, headers, body: Vec::new() };
    if answer.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        loop {
            let size = usize::from_str_radix(line(from)?.split(';').next().unwrap_or_default().trim(), 16)
                .map_err(|_| broken("no chunk size"))?;
            let mut chunk = vec![0; size];
            from.read_exact(&mut chunk)?;
            answer.body.extend(chunk);
            line(from)?;
            if size == 0 {
                break;
            }
        }
    } else {
        from.read_to_end(&mut answer.body)?;
    }
    Ok(answer)
}

fn line(from: &mut impl BufRead) -> std::io::Result<String> {
    let mut text = String::new();
    if from.read_line(&mut text)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        let answer = read_answer(&mut chunked.as_bytes()).unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "abcde"));
        let plain = "HTTP/1.1 404 Not Found\r\nX-A: b\r\n\r\nno";
        let answer = read_answer(&mut plain.as_bytes()).unwrap();
        assert_eq!((answer.status, answer.header("x-a"), answer.text().as_str()), (404, Some("b"), "no"));
        assert!(read_answer(&mut "".as_bytes()).is_err());
    }
}
