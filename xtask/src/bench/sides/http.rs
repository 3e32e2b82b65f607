//! As much of an HTTP/1.1 client as setting up a run needs: one connection, kept open, small JSON bodies.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::Done;

const PATIENCE: Duration = Duration::from_secs(30);

pub struct Client {
    stream: BufReader<TcpStream>,
    port: u16,
    /// The line that says who asks.
    who: String,
}

/// The status of a GET on a fresh connection; `None` when there is no answer.
pub fn get(port: u16, path: &str) -> Option<u16> {
    let mut client = Client::new(port, "").ok()?;
    client.send("GET", path, "").ok().map(|(status, _)| status)
}

impl Client {
    pub fn new(port: u16, key: &str) -> Done<Self> {
        let who = if key.is_empty() { String::new() } else { format!("Authorization: Bearer {key}") };
        Self::of(port, &who)
    }

    pub fn of(port: u16, who: &str) -> Done<Self> {
        let failed = |e| format!("port {port}: {e}");
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        Ok(Self { stream: BufReader::new(stream), port, who: who.to_owned() })
    }

    /// Sends JSON; anything but a 2xx is an error that shows the answer.
    pub fn post(&mut self, path: &str, json: &str) -> Done<String> {
        match self.send("POST", path, json)? {
            (200..=299, body) => Ok(body),
            (status, body) => Err(format!("POST {path} answered {status}: {body}")),
        }
    }

    pub fn send(&mut self, method: &str, path: &str, json: &str) -> Done<(u16, String)> {
        self.send_as(method, path, "application/json", json).map(|answer| (answer.status, answer.body))
    }

    fn send_as(&mut self, method: &str, path: &str, content: &str, body: &str) -> Done<Answer> {
        let failed = |e: std::io::Error| format!("{method} {path}: {e}");
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n", self.port);
        if !self.who.is_empty() {
            request.push_str(&format!("{}\r\n", self.who));
        }
        if !body.is_empty() {
            request.push_str(&format!("Content-Type: {content}\r\nContent-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body);
        self.stream.get_mut().write_all(request.as_bytes()).map_err(failed)?;
        read(&mut self.stream).map_err(failed)
    }
}

/// Signs in as a browser does; the cookie of the session, as it is sent back.
pub fn sign_in(port: u16, email: &str, password: &str) -> Done<String> {
    let form = format!("email={}&password={password}", email.replace('@', "%40"));
    let answer =
        Client::new(port, "")?.send_as("POST", "/sign-in", "application/x-www-form-urlencoded", &form)?;
    answer.cookie.filter(|_| answer.status == 303).ok_or_else(|| format!("{email} could not sign in"))
}

struct Answer {
    status: u16,
    /// Name and value of the first cookie that it sets.
    cookie: Option<String>,
    body: String,
}

fn read(from: &mut impl BufRead) -> std::io::Result<Answer> {
    let bad = |what: &str| std::io::Error::other(format!("not an HTTP answer: {what}"));
    let mut line = String::new();
    from.read_line(&mut line)?;
    let status: u16 = line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| bad(&line))?;
    let (mut length, mut chunked, mut cookie) = (0_u64, false, None);
    loop {
        let mut header = String::new();
        from.read_line(&mut header)?;
        let Some((name, value)) = header.split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().map_err(|_| bad(&header))?,
            "transfer-encoding" => chunked = true,
            "set-cookie" => {
                cookie = cookie.or_else(|| value.trim().split(';').next().map(str::to_owned));
            }
            _ => {}
        }
    }
    let mut body = Vec::new();
    if !chunked {
        from.take(length).read_to_end(&mut body)?;
    }
    while chunked {
        let mut size = String::new();
        from.read_line(&mut size)?;
        let size = u64::from_str_radix(size.trim(), 16).map_err(|_| bad(&size))?;
        from.take(size).read_to_end(&mut body)?;
        from.read_line(&mut String::new())?;
        chunked = size > 0;
    }
    Ok(Answer { status, cookie, body: String::from_utf8_lossy(&body).into_owned() })
}

/// A text as JSON.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The first text field of that name; for answers whose shape is known and whose texts hold no escapes.
pub fn text_field<'a>(json: &'a str, name: &str) -> Done<&'a str> {
    json.split_once(&format!("\"{name}\":"))
        .and_then(|(_, rest)| rest.trim_start().strip_prefix('"')?.split_once('"'))
        .map(|(value, _)| value)
        .ok_or_else(|| format!("no `{name}` in {json}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_to_their_end() {
        let text = "HTTP/1.1 201 Created\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        let mut from = text.as_bytes();
        for (status, cookie, body) in [(201, Some("a=b"), "{}"), (200, None, "abcd"), (204, None, "")] {
            let answer = read(&mut from).unwrap();
            assert_eq!((answer.status, answer.cookie.as_deref(), &*answer.body), (status, cookie, body));
        }
        assert!(read(&mut from).is_err());
    }

    #[test]
    fn json_there_and_back() {
        assert_eq!(quoted("a\"b\\c\nd\u{1}"), r#""a\"b\\c\nd\u0001""#);
        assert_eq!(text_field(r#"{"id": "key_1","key":"lst_x"}"#, "key").unwrap(), "lst_x");
        assert!(text_field(r#"{"key":null}"#, "key").is_err());
    }
}
