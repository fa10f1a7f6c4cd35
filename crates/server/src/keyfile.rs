//! The key file: instance keys of 32 random bytes, each as hexadecimal text on a line of its own, the newest first; readable by its
//! owner alone.
//!
//! It must not know the database; who calls decides whether a key may be made, and which may go.

use crate::config::beside;
use crate::failure::Failure;
use crate::files;
use sipgraph_core::keyring::{KeyId, KeySource, Keyring};
use sipgraph_core::rotation::KEYS_MAX;
use std::fs::{File, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

/// The configuration key that names the file.
const KEY: &str = "secret_key_file";

/// An instance key.
pub(crate) type Key = [u8; 32];

/// Where a keyring finds keys that came into the file later.
struct Source(PathBuf);

impl KeySource for Source {
    fn keys(&self) -> Vec<Key> {
        // What is wrong with the file is told by who misses a key.
        keys(&self.0).unwrap_or_default()
    }
}

/// Reads the keys, the newest first; none when there is no such file.
///
/// # Errors
/// [`Failure::Usage`] naming `secret_key_file` for a file that can't be read or does not hold one or two keys.
pub(crate) fn keys(path: &Path) -> Result<Vec<Key>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text).ok_or_else(|| {
            Failure::key(
                KEY,
                format_args!(
                    "{} does not hold 64 hexadecimal digits, or two lines of them that differ",
                    path.display()
                ),
            )
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Failure::key(
            KEY,
            format_args!("{} can't be read: {error}", path.display()),
        )),
    }
}

fn parse(text: &str) -> Option<Vec<Key>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys: Vec<Key> = lines.map(unhex).collect::<Option<_>>()?;
    let is_fit = match keys.as_slice() {
        [] => false,
        [_] => true,
        [newest, older @ ..] => keys.len() <= KEYS_MAX && !older.contains(newest),
    };
    is_fit.then_some(keys)
}

/// Reads the keyring of a file; `None` when there is no such file.
///
/// # Errors
/// Those of [`keys`].
pub(crate) fn read(path: &Path) -> Result<Option<Keyring>, Failure> {
    let keys = keys(path)?;
    let Some((newest, older)) = keys.split_first() else {
        return Ok(None);
    };
    let source = Source(path.to_owned());
    Ok(Some(Keyring::of(*newest, older, Some(Box::new(source)))))
}

/// Makes a key.
///
/// # Errors
/// [`Failure::Failed`] when the system gives no random bytes.
pub(crate) fn make() -> Result<Key, Failure> {
    let mut key = [0; 32];
    getrandom::fill(&mut key)
        .map_err(|error| Failure::failed("The system gives no random bytes", error))?;
    Ok(key)
}

/// Makes a key file with mode 0600 and syncs it to disk: what it seals must not outlive it. A file that came into
/// being meanwhile is read instead.
///
/// # Errors
/// [`Failure::Usage`] naming `secret_key_file` when it can't be written.
pub(crate) fn create(path: &Path) -> Result<Keyring, Failure> {
    let refused = |error: io::Error| {
        Failure::key(
            KEY,
            format_args!("{} can't be made: {error}", path.display()),
        )
    };
    let key = make()?;
    match files::create(path) {
        Ok(mut file) => {
            put(&mut file, &[key]).map_err(refused)?;
            files::sync_folder(path).map_err(refused)?;
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(refused(error)),
    }
    read(path)?.ok_or_else(|| refused(ErrorKind::NotFound.into()))
}

/// Puts keys in the place of those in a file, all or nothing: whoever reads it finds the old ones or the new ones, also after a power
/// cut. Owner and mode stay.
///
/// # Errors
/// [`Failure::Usage`] naming `secret_key_file` when it can't be written.
pub(crate) fn replace(path: &Path, keys: &[Key]) -> Result<(), Failure> {
    let replaced = || {
        // What a link points to is replaced, not the link.
        let path = path.canonicalize()?;
        let was = path.metadata()?;
        let new = beside(&path, ".new");
        // One that a power cut has left.
        files::remove(&new)?;
        let mut file = files::create(&new)?;
        let made = file.metadata()?;
        if (made.uid(), made.gid()) != (was.uid(), was.gid()) {
            fchown(&file, Some(was.uid()), Some(was.gid()))?;
        }
        file.set_permissions(Permissions::from_mode(was.mode() & 0o777))?;
        put(&mut file, keys)?;
        std::fs::rename(&new, &path)?;
        files::sync_folder(&path)
    };
    replaced().map_err(|error: io::Error| {
        Failure::key(
            KEY,
            format_args!("{} can't be replaced: {error}", path.display()),
        )
    })
}

fn put(file: &mut File, keys: &[Key]) -> io::Result<()> {
    let lines = keys
        .iter()
        .map(|key| sipgraph_core::digest::hex(key) + "\n");
    file.write_all(lines.collect::<String>().as_bytes())?;
    file.sync_all()
}

/// Refuses the start: the database has a key and there is no file.
pub(crate) fn missing(path: &Path, key: KeyId) -> Failure {
    Failure::key(
        KEY,
        format_args!(
            "there is no file {}, and this database is sealed with the key {key}; put its key file there",
            path.display()
        ),
    )
}

/// Refuses the start: the file does not hold a key that the database needs.
pub(crate) fn wrong(path: &Path, given: &[KeyId], key: KeyId) -> Failure {
    Failure::key(
        KEY,
        format_args!(
            "{} holds {}, but this database is sealed with the key {key}",
            path.display(),
            named(given)
        ),
    )
}

/// Names keys, of which there are one or two.
pub(crate) fn named(ids: &[KeyId]) -> String {
    match ids {
        [one] => format!("the key {one}"),
        ids => {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            format!("the keys {}", ids.join(" and "))
        }
    }
}

fn unhex(text: &str) -> Option<Key> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(high << 4 | low),
            _ => None,
        })
        .collect::<Option<_>>()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sipgraph_core::keyring::key_id;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_key_is_made_once_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        assert!(read(&path).unwrap().is_none());
        let made = create(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(read(&path).unwrap().unwrap().ids(), made.ids());
        assert_eq!(create(&path).unwrap().ids(), made.ids());
        let other = create(&folder.path().join("b.key")).unwrap();
        assert_ne!(other.ids(), made.ids());
    }

    #[test]
    fn what_is_no_key_is_refused_by_the_configuration_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        let digits = "0".repeat(64);
        let three: String = (0..3)
            .map(|i| format!("{}\n", "0123"[i..=i].repeat(64)))
            .collect();
        for text in [
            "",
            "\n",
            "x",
            &digits[1..],
            &format!("{digits}0"),
            &"0g".repeat(32),
            &format!("{digits}\n{digits}\n"),
            &format!("{digits}\nx\n"),
            &three,
        ] {
            std::fs::write(&path, text).unwrap();
            match read(&path) {
                Err(Failure::Usage(why)) => assert!(why.starts_with("secret_key_file: "), "{why}"),
                other => panic!("{text:?}: {other:?}"),
            }
        }
        std::fs::write(&path, format!(" {}\n", "0A".repeat(32))).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().id(), key_id([10; 32]));
        assert!(matches!(
            create(Path::new("/dev/null/a.key")),
            Err(Failure::Usage(_))
        ));
    }

    #[test]
    fn keys_are_replaced_where_a_link_points_to() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("a.key"), folder.path().join("link"));
        let keyring = create(&path).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let (new, old) = (make().unwrap(), keys(&path).unwrap()[0]);
        // What an earlier try has left is in nobody's way.
        std::fs::write(beside(&path, ".new"), "x").unwrap();
        replace(&link, &[new, old]).unwrap();
        assert!(link.is_symlink());
        assert_eq!((keys(&link).unwrap(), mode(&path)), (vec![new, old], 0o640));
        assert!(!beside(&path, ".new").exists());
        // A keyring that was there before finds it.
        assert_eq!(keyring.ids(), [key_id(old)]);
        assert_eq!(keyring.sealer(key_id(new)).unwrap().id(), key_id(new));
        let nowhere = replace(&folder.path().join("none"), &[new]);
        assert!(matches!(nowhere, Err(Failure::Usage(_))), "{nowhere:?}");
    }
}
