//! One chromedriver for all tests of this process; each test has a browser of its own with it.

use std::cell::Cell;
use std::io::{BufRead, BufReader};
use std::marker::PhantomData;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// Tests with browsers at once: each browser is a handful of processes.
const MOST: usize = 2;

struct Driver {
    url: String,
    _child: Child,
    /// The driver's shell ends it when this closes, which the kernel does for us however we end.
    _pipe: ChildStdin,
}

fn start() -> Driver {
    // `exec` would lose the shell that watches over standard input.
    let script = "chromedriver --port=0 & driver=$!; cat >/dev/null; kill $driver";
    let mut child = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh can be started");
    let pipe = child.stdin.take().expect("stdin is piped");
    let mut said = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let mut line = String::new();
    let port = loop {
        line.clear();
        let read = said.read_line(&mut line).expect("stdout can be read");
        assert!(read > 0, "chromedriver did not start; run `cargo xtask setup`");
        if let Some((_, rest)) = line.split_once("started successfully on port ") {
            break rest.trim().trim_end_matches('.').to_owned();
        }
    };
    // It must not stop at a full pipe.
    std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    Driver { url: format!("http://127.0.0.1:{port}"), _child: child, _pipe: pipe }
}

/// Where the driver listens.
pub fn url() -> &'static str {
    static DRIVER: OnceLock<Driver> = OnceLock::new();
    &DRIVER.get_or_init(start).url
}

static FREE: Mutex<usize> = Mutex::new(MOST);
static FREED: Condvar = Condvar::new();

fn free() -> MutexGuard<'static, usize> {
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    /// The browsers of the test that runs on this thread.
    static MINE: Cell<usize> = const { Cell::new(0) };
}

/// A place for a browser. A test's further browsers share that of its first one: tests that each held one and waited
/// for a second would wait for ever. It stays on its test's thread.
pub struct Place(PhantomData<*const ()>);

impl Place {
    pub fn wait() -> Self {
        if MINE.get() == 0 {
            let mut free =
                FREED.wait_while(free(), |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
            *free -= 1;
        }
        MINE.set(MINE.get() + 1);
        Self(PhantomData)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        MINE.set(MINE.get() - 1);
        if MINE.get() == 0 {
            *free() += 1;
            FREED.notify_one();
        }
    }
}
