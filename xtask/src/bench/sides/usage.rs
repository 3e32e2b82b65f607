//! What processes use, read from `/proc`: CPU time in seconds, resident memory in bytes.

use std::fs;

/// The kernel's `USER_HZ`: 100 on every Linux, whatever its own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu: f64,
    pub resident: u64,
}

impl Usage {
    /// Of a process and all below it; a page that two of them share counts twice.
    pub fn of(pid: u32) -> Self {
        let mut total = Self::default();
        for pid in family(pid) {
            if let Some(cpu) = stat(pid).map(|stat| stat.cpu()) {
                total.cpu += cpu;
            }
            total.resident += resident(pid);
        }
        total
    }
}

pub fn alive(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| stat.state != "Z")
}

/// CPU time that everything on this machine has used, and that was stolen from it.
pub fn machine() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<f64> =
        text.lines().next().unwrap_or_default().split_whitespace().skip(1).flat_map(str::parse).collect();
    // user nice system idle iowait irq softirq steal; guest time is within user.
    [0, 1, 2, 5, 6, 7].iter().filter_map(|at| fields.get(*at)).sum::<f64>() / TICKS_PER_SECOND
}

/// CPU time of this process with all below it, the finished ones included.
pub fn own() -> f64 {
    let me = std::process::id();
    let finished = stat(me).map_or(0.0, |stat| stat.finished);
    Usage::of(me).cpu + finished
}

struct Stat {
    state: String,
    parent: u32,
    /// utime + stime
    used: f64,
    /// cutime + cstime
    finished: f64,
}

impl Stat {
    fn cpu(&self) -> f64 {
        self.used
    }

    /// proc(5): `pid (comm) state ppid …`; the name may hold blanks and brackets, so it is read from the back.
    fn read(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
        Some(Self {
            state: (*fields.first()?).to_owned(),
            parent: fields.get(1)?.parse().ok()?,
            used: (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND,
            finished: (ticks(13)? + ticks(14)?) / TICKS_PER_SECOND,
        })
    }
}

fn stat(pid: u32) -> Option<Stat> {
    Stat::read(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn resident(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().map_or(0, |kib| kib * 1024)
}

fn family(pid: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return vec![pid] };
    let all: Vec<(u32, u32)> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?.parent)))
        .collect();
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(all.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_may_hold_anything() {
        let stat =
            Stat::read("12 (a) b (c) S 7 1 1 0 -1 4194560 100 0 0 0 150 50 1000 200 20 0 1 0 5 1000 10");
        let stat = stat.unwrap();
        assert_eq!((stat.state.as_str(), stat.parent), ("S", 7));
        assert!((stat.used - 2.0).abs() < 1e-9 && (stat.finished - 12.0).abs() < 1e-9);
        assert!(Stat::read("12 (a").is_none());
    }

    #[test]
    fn children_are_counted() {
        let mut child = std::process::Command::new("sleep").arg("5").spawn().unwrap();
        assert!(family(std::process::id()).contains(&child.id()));
        assert!(alive(child.id()) && Usage::of(child.id()).resident > 0);
        child.kill().unwrap();
        // Dying takes a moment; the zombie that is left is not alive.
        let gone = (0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            !alive(child.id())
        });
        assert!(gone, "a zombie is not alive");
        child.wait().unwrap();
        assert!(machine() > own());
    }
}
