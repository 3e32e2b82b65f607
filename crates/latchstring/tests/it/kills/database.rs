//! A way to PostgreSQL that reads along (frontend/backend protocol 3.0, without TLS) and can hold a statement, a
//! commit, or the answer to a commit.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::trap::{Point, Trap};

/// What a piece of a statement's text says about the step it belongs to, and the step's points: before the
/// statement, before its commit, before the commit's answer.
const STEPS: [(&str, Points); 4] = [
    (
        "SET lease_fence = lease_fence + 1, lease_owner = $1",
        Points {
            before: Point::BeforeTake,
            uncommitted: Some(Point::TakeNotCommitted),
            committed: Point::TakeCommitted,
        },
    ),
    (
        "SET intent = 'prepared'",
        Points { before: Point::BeforePrepare, uncommitted: None, committed: Point::PrepareCommitted },
    ),
    (
        "SET intent = 'sent'",
        Points {
            before: Point::BeforeMark,
            uncommitted: Some(Point::MarkNotCommitted),
            committed: Point::MarkCommitted,
        },
    ),
    (
        "SET version = version + 1, state = 'live'",
        Points {
            before: Point::BeforeSave,
            uncommitted: Some(Point::SaveNotCommitted),
            committed: Point::SaveCommitted,
        },
    ),
];

#[derive(Clone, Copy)]
struct Points {
    before: Point,
    uncommitted: Option<Point>,
    committed: Point,
}

const SSL_REQUEST: u32 = 80_877_103;
/// No message of ours is longer.
const LONGEST: usize = 64 << 20;

pub struct DatabaseProxy {
    at: SocketAddr,
}

impl DatabaseProxy {
    /// In front of the server at `host:port`.
    pub fn start(server: &str, trap: Arc<Trap>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (at, server) = (listener.local_addr().unwrap(), server.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(&server)) else { return };
                let trap = Arc::clone(&trap);
                // Whichever side ends, and however, is part of the tests.
                std::thread::spawn(move || drop(carry(client, server, &trap)));
            }
        });
        Self { at }
    }

    /// The URL of a database, by this way.
    pub fn url(&self, direct: &str) -> String {
        let server = server_of(direct);
        direct.replacen(&server, &self.at.to_string(), 1)
    }
}

/// `host:port` of a PostgreSQL URL.
pub fn server_of(url: &str) -> String {
    let rest = url.split_once("://").expect("a URL").1;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default().to_owned()
}

fn read_message(from: &mut impl Read, typed: bool) -> io::Result<Vec<u8>> {
    let head = if typed { 5 } else { 4 };
    let mut message = vec![0; head];
    from.read_exact(&mut message)?;
    let length = u32::from_be_bytes(message[head - 4..].try_into().unwrap()) as usize;
    let whole = head - 4 + length;
    if whole < head || whole > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    message.resize(whole, 0);
    from.read_exact(&mut message[head..])?;
    Ok(message)
}

fn text(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    std::str::from_utf8(&bytes[..end]).unwrap_or_default()
}

/// What the side that reads answers has to do with the next one to a COMMIT.
const PASS: u8 = u8::MAX;

fn carry(mut client: TcpStream, mut server: TcpStream, trap: &Arc<Trap>) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let mut first = read_message(&mut client, false)?;
    if first.len() == 8 && u32::from_be_bytes(first[4..8].try_into().unwrap()) == SSL_REQUEST {
        client.write_all(b"N")?;
        first = read_message(&mut client, false)?;
    }
    server.write_all(&first)?;

    // The step whose commit's answer is to be held, by its place in STEPS.
    let held = Arc::new(AtomicU8::new(PASS));
    let over = Arc::new(AtomicBool::new(false));
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    let answers = {
        let (held, trap, over) = (Arc::clone(&held), Arc::clone(trap), Arc::clone(&over));
        std::thread::spawn(move || -> io::Result<()> {
            loop {
                let message = read_message(&mut from_server, true)?;
                if message[0] == b'C' && text(&message[5..]) == "COMMIT" {
                    let step = held.swap(PASS, Ordering::SeqCst);
                    if step != PASS && trap.at(STEPS[usize::from(step)].1.committed) {
                        over.store(true, Ordering::SeqCst);
                        return Ok(());
                    }
                }
                to_client.write_all(&message)?;
            }
        })
    };

    let mut statements: HashMap<String, String> = HashMap::new();
    let mut open: Option<u8> = None;
    let mut carry = || -> io::Result<()> {
        loop {
            let message = read_message(&mut client, true)?;
            let ran = match message[0] {
                b'Q' => text(&message[5..]).to_owned(),
                b'P' => {
                    let name = text(&message[5..]);
                    let sql = text(&message[5 + name.len() + 1..]);
                    statements.insert(name.to_owned(), sql.to_owned());
                    String::new()
                }
                b'B' => {
                    let portal = text(&message[5..]);
                    let name = text(&message[5 + portal.len() + 1..]);
                    statements.get(name).cloned().unwrap_or_default()
                }
                _ => String::new(),
            };
            let step = STEPS.iter().position(|(piece, _)| ran.contains(piece));
            if let Some(step) = step {
                open = u8::try_from(step).ok();
                if trap.at(STEPS[step].1.before) {
                    return Ok(());
                }
            }
            let word = ran.trim_start().get(..6).unwrap_or_default().to_ascii_uppercase();
            if word == "COMMIT"
                && let Some(step) = open.take()
            {
                let points = STEPS[usize::from(step)].1;
                if points.uncommitted.is_some_and(|point| trap.at(point)) {
                    return Ok(());
                }
                if trap.is_armed(points.committed) {
                    held.store(step, Ordering::SeqCst);
                }
            } else if word == "ROLLBA" {
                open = None;
            }
            server.write_all(&message)?;
            if over.load(Ordering::SeqCst) {
                return Ok(());
            }
        }
    };
    let done = carry();
    // Both sides end with one: what was not committed is rolled back.
    let _ = server.shutdown(std::net::Shutdown::Both);
    let _ = client.shutdown(std::net::Shutdown::Both);
    let _ = answers.join();
    done
}
