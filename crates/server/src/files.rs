//! Files that hold secrets or what people wrote: made for their owner alone, and synced with their folder.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Makes a file with mode 0600 that must not exist yet, and its folder with mode 0700 if need be.
///
/// # Errors
/// Those of the system; `AlreadyExists` when it is there.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    make_folder(folder_of(path))?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Makes a folder with mode 0700, and those above it, unless it is there.
///
/// # Errors
/// Those of the system.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Syncs the folder of a file, so that a new or renamed file is still there after a power cut.
///
/// # Errors
/// Those of the system.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// Removes a file unless it is gone already.
///
/// # Errors
/// Those of the system.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Returns the folder of a file: the working directory for a bare name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}
