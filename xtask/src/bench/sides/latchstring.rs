//! Latchstring as anybody would set it up: user and key by `admin`, the rest through the API.

use std::fs;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::http::{self, Client, quoted};
use super::keeper::{Folder, Server};
use super::{TOKEN, WORKERS};
use crate::Done;

pub const EMAIL: &str = "bench@example.com";
pub const PASSWORD: &str = "bench-pass-phrase-0123456789";
pub const PROJECT: &str = "bench";
/// HS256 wants at least 256 bits.
const SHARED_KEY: &str = "bench-shared-key-0123456789abcdef0123456789abcdef";
/// How many clients store credentials at once.
pub const WRITERS: u32 = 8;

/// Where a server's calls go.
#[derive(Clone, Copy)]
pub struct Upstreams {
    pub api: u16,
    pub sink: u16,
}

/// A data folder with a user and that user's key.
pub struct Home<'a> {
    program: &'a Path,
    folder: &'a Folder,
    data: PathBuf,
    /// Where PostgreSQL is; SQLite is in the data folder.
    database: Option<String>,
    name: String,
    upstreams: Upstreams,
    key: String,
}

impl<'a> Home<'a> {
    pub fn empty(program: &'a Path, folder: &'a Folder, name: &str, upstreams: Upstreams) -> Self {
        let data = folder.path(name);
        Self { program, folder, data, database: None, name: name.to_owned(), upstreams, key: String::new() }
    }

    pub fn new(program: &'a Path, folder: &'a Folder, name: &str, upstreams: Upstreams) -> Done<Self> {
        Self::on(None, program, folder, name, upstreams)
    }

    pub fn on(
        database: Option<&str>,
        program: &'a Path,
        folder: &'a Folder,
        name: &str,
        upstreams: Upstreams,
    ) -> Done<Self> {
        let mut home = Self::empty(program, folder, name, upstreams);
        home.database = database.map(str::to_owned);
        home.key = home.person(EMAIL, &["--superuser"])?;
        Ok(home)
    }

    /// Makes a person; the key to act as them.
    pub fn person(&self, email: &str, more: &[&str]) -> Done<String> {
        let create = [&["create-user", "--email", email, "--password-stdin"], more].concat();
        self.admin(&create, PASSWORD)?;
        Ok(self.admin(&["create-key", "--email", email, "--name", "bench"], "")?.trim().to_owned())
    }

    /// The key of the superuser, who owns what the bench project uses.
    pub fn key(&self) -> &str {
        &self.key
    }

    fn place(&self) -> Vec<String> {
        let mut place = vec!["--data-dir".to_owned(), self.data.to_string_lossy().into_owned()];
        if let Some(url) = &self.database {
            place.extend(["--database-url".to_owned(), url.clone()]);
        }
        place
    }

    fn admin(&self, args: &[&str], input: &str) -> Done<String> {
        let failed = |e: std::io::Error| format!("latchstring admin: {e}");
        let mut child = Command::new(self.program)
            .arg("admin")
            .args(args)
            .args(self.place())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).map_err(failed)?;
        }
        let out = child.wait_with_output().map_err(failed)?;
        if !out.status.success() {
            return Err(format!(
                "latchstring admin {}: {}",
                args.join(" "),
                String::from_utf8_lossy(&out.stderr)
            ));
        }
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    pub fn start(&self, port: u16) -> Done<Server> {
        let place = self.place();
        let listen = format!("127.0.0.1:{port}");
        let allow = format!("127.0.0.1/32:{},127.0.0.1/32:{}", self.upstreams.api, self.upstreams.sink);
        let cores = WORKERS.to_string();
        let mut args = vec!["serve"];
        args.extend(place.iter().map(String::as_str));
        args.extend(["--listen", &listen, "--egress-allow", &allow, "--data-cores", &cores]);
        Server::start(self.folder, &self.name, port, "/readyz", self.program, &args)
    }

    /// Makes the project and a service key for it.
    pub fn project(&self, port: u16) -> Done<String> {
        let mut api = Client::new(port, &self.key)?;
        let project = format!(r#"{{"slug":"{PROJECT}","name":"Bench","environments":["production"]}}"#);
        api.post("/api/v1/projects", &project)?;
        let key = r#"{"name":"callers","environment":"production"}"#;
        let answer = api.post(&format!("/api/v1/projects/{PROJECT}/api-keys"), key)?;
        http::text_field(&answer, "key").map(str::to_owned)
    }

    /// Stores one credential of `http`; calls reach it under its slug.
    pub fn store(&self, port: u16, slug: &str, method: &Method) -> Done {
        put(&mut Client::new(port, &self.key)?, slug, &method.fields(self.folder, self.upstreams)?)
    }

    /// Stores bearer credentials `b-<from>` to `b-<to - 1>`, each with a token of its own.
    pub fn store_many(&self, port: u16, from: u32, to: u32) -> Done<Duration> {
        self.with_writers(port, from..to, &|api, number| {
            let method = Method::Bearer { token: format!("{TOKEN}-{number}"), sink: false };
            put(api, &format!("b-{number}"), &method.fields(self.folder, self.upstreams)?)
        })
    }

    fn with_writers(
        &self,
        port: u16,
        numbers: Range<u32>,
        write: &(dyn Fn(&mut Client, u32) -> Done + Sync),
    ) -> Done<Duration> {
        at_once(&|writer| {
            let mut api = Client::new(port, &self.key)?;
            numbers.clone().filter(|number| number % WRITERS == writer).try_for_each(|n| write(&mut api, n))
        })
    }
}

/// Runs `part` with the numbers below [`WRITERS`], all at the same time.
pub fn at_once(part: &(dyn Fn(u32) -> Done + Sync)) -> Done<Duration> {
    let began = Instant::now();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || part(writer))).collect();
        writers
            .into_iter()
            .try_for_each(|writer| writer.join().map_err(|_| "a writer panicked".to_owned())?)
    })?;
    Ok(began.elapsed())
}

fn put(api: &mut Client, slug: &str, (method, fields): &(&str, String)) -> Done {
    let json = format!(
        r#"{{"name":"{slug}","connector":"http","auth_method":"{method}","verify":"skip","values":{{"production":{fields}}},"shares":[{{"project":"{PROJECT}","grants":{{"production":"production"}}}}]}}"#
    );
    let answer = api.post("/api/v1/credentials", &json)?;
    match http::text_field(&answer, "slug")? {
        got if got == slug => Ok(()),
        got => Err(format!("the credential `{slug}` got the slug `{got}`")),
    }
}

/// The ways to authenticate that are measured.
pub enum Method {
    Bearer { token: String, sink: bool },
    ClientCredentials,
    Jwt(&'static str),
}

impl Method {
    pub fn bearer() -> Self {
        Method::Bearer { token: TOKEN.to_owned(), sink: false }
    }

    pub fn uploads() -> Self {
        Method::Bearer { token: TOKEN.to_owned(), sink: true }
    }

    fn fields(&self, folder: &Folder, upstreams: Upstreams) -> Done<(&'static str, String)> {
        let api = format!("http://127.0.0.1:{}", upstreams.api);
        Ok(match self {
            Method::Bearer { token, sink } => {
                let base = if *sink { format!("http://127.0.0.1:{}", upstreams.sink) } else { api };
                ("bearer", format!(r#"{{"base_url":"{base}","token":"{token}"}}"#))
            }
            Method::ClientCredentials => (
                "oauth2_client_credentials",
                format!(
                    r#"{{"base_url":"{api}","client_id":"bench","client_secret":"bench-secret-0123456789","token_url":"{api}/token"}}"#
                ),
            ),
            Method::Jwt(algorithm) => {
                let key = match *algorithm {
                    "HS256" => SHARED_KEY.to_owned(),
                    "ES256" => pem(folder, "ec.pem")?,
                    _ => pem(folder, "rsa.pem")?,
                };
                let key = quoted(&key);
                (
                    "jwt",
                    format!(
                        r#"{{"base_url":"{api}","private_key":{key},"algorithm":"{algorithm}","claims":{{"iss":"bench","aud":"https://api.example.com","sub":"bench"}}}}"#
                    ),
                )
            }
        })
    }
}

fn pem(folder: &Folder, name: &str) -> Done<String> {
    let path = folder.path(name);
    fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))
}
