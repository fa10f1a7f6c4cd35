//! The key file: 32 random bytes as hexadecimal text, readable by its owner alone.
//!
//! It must not know the database; who calls decides whether a key may be made.

use crate::failure::Failure;
use crate::files;
use sipgraph_core::keyring::Keyring;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

/// The configuration key that names the file.
const KEY: &str = "secret_key_file";

/// Reads the key; `None` when there is no such file.
///
/// # Errors
/// [`Failure::Usage`] naming `secret_key_file` for a file that can't be read or holds no key.
pub(crate) fn read(path: &Path) -> Result<Option<Keyring>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => match unhex(text.trim()) {
            Some(key) => Ok(Some(Keyring::new(key))),
            None => Err(Failure::key(
                KEY,
                format_args!("{} does not hold 64 hexadecimal digits", path.display()),
            )),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::key(
            KEY,
            format_args!("{} can't be read: {error}", path.display()),
        )),
    }
}

/// Makes a key file with mode 0600 and syncs it to disk: what it seals must not outlive it. A file that came into
/// being meanwhile is read instead.
///
/// # Errors
/// [`Failure::Usage`] naming `secret_key_file` when it can't be written.
pub(crate) fn create(path: &Path) -> Result<Keyring, Failure> {
    let refused = |error: std::io::Error| {
        Failure::key(
            KEY,
            format_args!("{} can't be made: {error}", path.display()),
        )
    };
    let mut key = [0; 32];
    getrandom::fill(&mut key)
        .map_err(|error| Failure::failed("The system gives no random bytes", error))?;
    let text = format!("{}\n", sipgraph_core::digest::hex(&key));
    match files::create(path) {
        Ok(mut file) => {
            file.write_all(text.as_bytes()).map_err(refused)?;
            file.sync_all().map_err(refused)?;
            files::sync_folder(path).map_err(refused)?;
            Ok(Keyring::new(key))
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            read(path)?.ok_or_else(|| refused(error))
        }
        Err(error) => Err(refused(error)),
    }
}

/// Refuses the start: the database has a key and the file does not hold it.
pub(crate) fn missing(path: &Path, key_id: &str) -> Failure {
    Failure::key(
        KEY,
        format_args!(
            "there is no file {}, and this database is sealed with the key {key_id}; put its key file there",
            path.display()
        ),
    )
}

/// Refuses the start: the file holds another key than the database's.
pub(crate) fn wrong(path: &Path, given: &Keyring, key_id: &str) -> Failure {
    Failure::key(
        KEY,
        format_args!(
            "{} holds the key {}, but this database is sealed with the key {key_id}",
            path.display(),
            given.id_text()
        ),
    )
}

fn unhex(text: &str) -> Option<[u8; 32]> {
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
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_made_once_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        assert!(read(&path).unwrap().is_none());
        let made = create(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(read(&path).unwrap().unwrap().id_text(), made.id_text());
        assert_eq!(create(&path).unwrap().id_text(), made.id_text());
        let other = create(&folder.path().join("b.key")).unwrap();
        assert_ne!(other.id_text(), made.id_text());
    }

    #[test]
    fn what_is_no_key_is_refused_by_the_configuration_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        let digits = "0".repeat(64);
        for text in [
            "",
            "x",
            &digits[1..],
            &format!("{digits}0"),
            &"0g".repeat(32),
        ] {
            std::fs::write(&path, text).unwrap();
            match read(&path) {
                Err(Failure::Usage(why)) => assert!(why.starts_with("secret_key_file: "), "{why}"),
                other => panic!("{text:?}: {other:?}"),
            }
        }
        std::fs::write(&path, format!(" {}\n", "0A".repeat(32))).unwrap();
        assert_eq!(
            read(&path).unwrap().unwrap().id_text(),
            Keyring::new([10; 32]).id_text()
        );
        assert!(matches!(
            create(Path::new("/dev/null/a.key")),
            Err(Failure::Usage(_))
        ));
    }
}
