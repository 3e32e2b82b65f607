//! `latchstring keys …`: rotation of the root key and of data keys.

use std::path::PathBuf;
use std::time::Duration;

use latchstring_broker::keys::KeyError;
use latchstring_broker::keys::data::rotate_data_keys;
use latchstring_broker::keys::root::{Rotation, retire_root, rotate_root};
use latchstring_model::id::ServerId;
use latchstring_vault::KeyRing;

use super::{on_runtime, print, stopped};
use crate::settings::{Raw, Settings};
use crate::start::Opened;
use crate::{Config, Ending, root_key, start};

#[derive(clap::Subcommand)]
pub enum Keys {
    /// Make a new root key and wrap all data keys with it (with --data: a new data key, and re-seal all values)
    #[command(after_help = "Example:\n  latchstring keys rotate        may be run again after a kill")]
    Rotate(Box<Rotate>),
    /// Drop root keys that wrap nothing any more
    #[command(after_help = "Example:\n  latchstring keys retire")]
    Retire(Box<Retire>),
}

#[derive(clap::Args)]
pub struct Rotate {
    /// Rotate the data key instead of the root key
    #[arg(long)]
    data: bool,
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    raw: Raw,
}

#[derive(clap::Args)]
pub struct Retire {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    raw: Raw,
}

/// How long living servers get to pick up a new root key.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn run(keys: Keys) -> Ending {
    match keys {
        Keys::Rotate(rotate) => on_runtime(self::rotate(*rotate)),
        Keys::Retire(retire) => on_runtime(self::retire(*retire)),
    }
}

struct Work {
    opened: Opened,
    ring: KeyRing,
    file: PathBuf,
    server: ServerId,
}

async fn work(raw: Raw, config: &Config) -> Result<Work, Ending> {
    let settings = Settings::read(raw, config.config.as_deref()).map_err(stopped)?;
    let opened = start::open(&settings, false).await.map_err(stopped)?;
    let ring = root_key::read(&settings.root_key_file).map_err(stopped)?;
    let ring = ring.ok_or_else(|| Ending::Stopped("the root key file is gone".into()))?;
    let server = ServerId::new(opened.clock.now(), &*opened.entropy);
    Ok(Work { opened, ring, file: settings.root_key_file, server })
}

impl Work {
    fn rotation(&self) -> Rotation<'_> {
        Rotation {
            store: &self.opened.store,
            server: &self.server,
            clock: &*self.opened.clock,
            entropy: &*self.opened.entropy,
        }
    }
}

fn failed(error: KeyError) -> Ending {
    Ending::Stopped(error.to_string())
}

async fn rotate(command: Rotate) -> Result<Ending, Ending> {
    let work = work(command.raw, &command.config).await?;
    if command.data {
        let opened = &work.opened;
        let done =
            rotate_data_keys(&opened.store, &opened.vault, &work.server, &*opened.clock, &*opened.entropy)
                .await
                .map_err(failed)?;
        print(&format!(
            "Values are sealed under the data key {} now ({} sealed anew).",
            done.key, done.values
        ));
        return Ok(Ending::Good);
    }
    let (mut ring, file) = (work.ring.clone(), work.file.clone());
    let write = |ring: &KeyRing| root_key::write(&file, ring).map_err(|error| error.0);
    let done = rotate_root(&work.rotation(), &mut ring, write, PATIENCE).await.map_err(failed)?;
    print(&format!(
        "The root key is {} now ({} data keys wrapped anew). Copy the key file to your backup, then run `latchstring keys retire`.",
        done.key, done.rewrapped
    ));
    Ok(Ending::Good)
}

async fn retire(command: Retire) -> Result<Ending, Ending> {
    let work = work(command.raw, &command.config).await?;
    let mut ring = work.ring.clone();
    let old: Vec<_> = ring.ids().filter(|id| *id != ring.active_id()).cloned().collect();
    if old.is_empty() {
        print("There is no old root key.");
        return Ok(Ending::Good);
    }
    let file = work.file.clone();
    for key in old {
        let write = |ring: &KeyRing| root_key::write(&file, ring).map_err(|error| error.0);
        retire_root(&work.rotation(), &mut ring, &key, write).await.map_err(failed)?;
        print(&format!("The root key {key} is retired."));
    }
    Ok(Ending::Good)
}
