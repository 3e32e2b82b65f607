//! A way to the token endpoint that can hold a connection, a request, an answer, or half of one. With `grace` it is a
//! provider that gives the same answer once more to whoever repeats a refresh.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use latchstring_testkit::http::{self, Answer};

use super::trap::{Point, Trap};

#[derive(Default)]
struct Told {
    /// Access tokens that the provider gave out.
    tokens: HashSet<String>,
    /// By the request's body.
    answers: HashMap<Vec<u8>, Answer>,
    asked: u32,
    refused: u32,
}

pub struct TokenProxy {
    at: SocketAddr,
    told: Arc<Mutex<Told>>,
}

impl TokenProxy {
    pub fn start(token_url: &str, grace: bool, trap: Arc<Trap>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (at, told) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Told::default())));
        let (url, log) = (token_url.to_owned(), Arc::clone(&told));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (url, log, trap) = (url.clone(), Arc::clone(&log), Arc::clone(&trap));
                // Whoever hangs up is part of the tests.
                std::thread::spawn(move || drop(serve(stream, &url, grace, &log, &trap)));
            }
        });
        Self { at, told }
    }

    pub fn url(&self) -> String {
        format!("http://{}/token", self.at)
    }

    /// Whether the provider gave out this access token.
    pub fn gave(&self, token: &str) -> bool {
        self.told.lock().unwrap().tokens.contains(token)
    }

    /// Token requests that reached the provider, and those that it refused.
    pub fn counts(&self) -> (u32, u32) {
        let told = self.told.lock().unwrap();
        (told.asked, told.refused)
    }
}

fn serve(stream: TcpStream, url: &str, grace: bool, told: &Mutex<Told>, trap: &Trap) -> io::Result<()> {
    if trap.at(Point::ConnectedToProvider) {
        return Ok(());
    }
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut headers: Vec<(String, String)> = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    if trap.at(Point::RequestBeforeProvider) {
        return Ok(());
    }
    let passed: Vec<(&str, &str)> = headers
        .iter()
        .filter(|(name, _)| matches!(name.as_str(), "authorization" | "content-type" | "accept"))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let answer = {
        let mut told = told.lock().unwrap();
        let known = told.answers.get(&body).filter(|_| grace).cloned();
        let answer = known.unwrap_or_else(|| {
            told.asked += 1;
            http::request("POST", url, &passed, &body)
        });
        if answer.status == 200 {
            if let Some(token) = answer.json()["access_token"].as_str() {
                told.tokens.insert(token.to_owned());
            }
            told.answers.insert(body, answer.clone());
        } else {
            told.refused += 1;
        }
        answer
    };
    if trap.at(Point::ProviderCommitted) {
        return Ok(());
    }
    let head = format!(
        "HTTP/1.1 {} Answer\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        answer.status,
        answer.body.len()
    );
    let whole = [head.as_bytes(), &answer.body].concat();
    let (half, rest) = whole.split_at(head.len() + answer.body.len() / 2);
    (&stream).write_all(half)?;
    if trap.at(Point::HalfOfTheAnswer) {
        return Ok(());
    }
    (&stream).write_all(rest)
}
