//! The root key file: read with care, made once, never made again beside existing data.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use latchstring_model::{Clock, Entropy};
use latchstring_vault::KeyRing;

use crate::settings::SettingError;

/// A key ring is a few hundred bytes; anything larger is another file.
const LARGEST: u64 = 64 * 1024;

fn wrong(path: &Path, what: impl std::fmt::Display) -> SettingError {
    SettingError(format!("the root key file {}: {what}", path.display()))
}

/// `None`: there is no such file.
pub fn read(path: &Path) -> Result<Option<KeyRing>, SettingError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(path, format!("cannot be opened: {error}"))),
    };
    let about = file.metadata().map_err(|error| wrong(path, format!("cannot be looked at: {error}")))?;
    if !about.is_file() {
        return Err(wrong(path, "is not a file; point LATCHSTRING_ROOT_KEY_FILE at the key ring"));
    }
    let mode = about.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(wrong(
            path,
            format!(
                "can be read or written by others (mode {mode:04o}); run `chmod 600` on it, and think about whether it was copied"
            ),
        ));
    }
    if about.len() > LARGEST {
        return Err(wrong(
            path,
            "is too large to be a key ring; point LATCHSTRING_ROOT_KEY_FILE at the right file",
        ));
    }
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    file.read_to_end(&mut bytes).map_err(|error| wrong(path, format!("cannot be read: {error}")))?;
    KeyRing::parse(&bytes).map(Some).map_err(|error| wrong(path, error))
}

/// Writes a ring so that a crash at any moment leaves the old file or the new one, never half of one.
pub fn write(path: &Path, ring: &KeyRing) -> Result<(), SettingError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let fail = |error: io::Error| wrong(path, format!("cannot be written: {error}"));
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(fail)?;
    // An old temporary file keeps its mode: set it, whatever it was.
    file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(fail)?;
    file.write_all(ring.to_bytes().expose()).and_then(|()| file.sync_all()).map_err(fail)?;
    fs::rename(&temporary, path).map_err(fail)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail)
}

/// Publishes the first ring of an installation: fails when there is a file already, whoever made it, so that two
/// first starts on one folder cannot write over each other's key.
pub fn write_first(path: &Path, ring: &KeyRing) -> Result<(), SettingError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = path.with_extension(format!("new-{}", std::process::id()));
    let fail = |error: io::Error| {
        wrong(path, format!("cannot be written: {error}; if another server was just making it, start again"))
    };
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(fail)?;
    let written = file.write_all(ring.to_bytes().expose()).and_then(|()| file.sync_all());
    // A link is made or not, and never over a file that is there.
    let linked = written.and_then(|()| fs::hard_link(&temporary, path));
    fs::remove_file(&temporary).and(linked).map_err(fail)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail)
}

/// Takes back a key that nothing was ever sealed with, and no other: the file must still hold it.
pub fn take_back(path: &Path, ring: &KeyRing) {
    let same = fs::read(path)
        .is_ok_and(|bytes| zeroize::Zeroizing::new(bytes).as_slice() == ring.to_bytes().expose());
    if same {
        // If it stays, it is unused: the next start compares it with the data and says so.
        let _ = fs::remove_file(path);
    }
}

pub fn generate(clock: &dyn Clock, entropy: &dyn Entropy) -> KeyRing {
    KeyRing::generate(clock.now(), entropy)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::clock::SystemClock;
    use crate::entropy::OsEntropy;

    fn ring() -> KeyRing {
        generate(&SystemClock, &OsEntropy)
    }

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("latchstring-root-key-{name}-{}", std::process::id()));
        // What an earlier run left behind.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn files(folder: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        fs::read_dir(folder).unwrap().map(name).collect()
    }

    #[test]
    fn the_first_key_is_never_written_over_another() {
        let folder = folder("first");
        let path = folder.join("root.key");
        let (one, other) = (ring(), ring());
        write_first(&path, &one).unwrap();
        let refused = write_first(&path, &other).unwrap_err();
        assert!(refused.0.contains("start again"), "{refused}");
        assert_eq!(fs::read(&path).unwrap(), one.to_bytes().expose());
        assert_eq!(files(&folder), ["root.key"], "no temporary file is left");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn only_the_key_that_was_made_is_taken_back() {
        let folder = folder("back");
        let path = folder.join("root.key");
        let (mine, theirs) = (ring(), ring());
        write_first(&path, &theirs).unwrap();
        take_back(&path, &mine);
        assert_eq!(fs::read(&path).unwrap(), theirs.to_bytes().expose(), "somebody else's stays");
        take_back(&path, &theirs);
        assert!(files(&folder).is_empty());
        // And where there is none, nothing happens.
        take_back(&path, &mine);
        fs::remove_dir_all(&folder).unwrap();
    }
}
