//! `sipgraph secret`: the instance key is replaced, and what it sealed is sealed anew.
//!
//! It works on the database directly, beside running servers, as every command does. What is done when is decided by
//! `sipgraph_core::rotation`; here the file is written, and the steps of the store are taken.

use super::progress::Progress;
use crate::config::Config;
use crate::failure::Failure;
use crate::keyfile::{self, Key};
use crate::lock::Lock;
use crate::wiring::{self, Instance};
use sipgraph_core::Timestamp;
use sipgraph_core::commit::IDEMPOTENCY_KEPT;
use sipgraph_core::keyring::{KeyId, key_id};
use sipgraph_core::rotation::{
    InstanceKeys, Rotation, RotationRefused, behind, forgetting, rotation,
};
use sipgraph_storage::{RotationPlace, Storage};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What to do with the instance key.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Replaces the instance key while the server runs, and seals every secret anew with it.
    #[command(after_help = ROTATE_HELP)]
    Rotate {
        /// With Postgres: no other node uses this database, so that the new key need not be copied to any first.
        #[arg(long)]
        one_node: bool,
    },
    /// Removes the key before the one in use from the key file, once nothing needs it.
    #[command(after_help = FORGET_HELP)]
    ForgetOld {
        /// Does not wait until cursors and idempotency keys from before have run out; those are refused then.
        #[arg(long)]
        now: bool,
    },
}

const ROTATE_HELP: &str = "\
A new key is put in front of the old one in the key file, noted in the database as the one in use, and every secret that the old
key sealed is sealed anew. Phones go on registering meanwhile, and the server needs no restart. Run it again after a break: it
goes on with the same key.

With Postgres other nodes may need the new key too. There the first run only writes the file. Copy it to each node, which reads
it within 5 seconds, and run it again. A file with the new key (64 hexadecimal digits) on a line before the old one may also be
put in place by hand.

`sipgraph check` tells how far it is. See docs/operations.md.";

const FORGET_HELP: &str = "\
The key before seals nothing any more when its rotation has ended. But pages and event feeds that began before go on with
cursors that it made, for as long as events are kept, and calls are repeated with idempotency keys for a day. Until then this is
refused, unless --now is given. Backups from before the rotation still need that key: keep it with them.";

/// How often rows that others hold are looked for, once all the rest is done.
const HELD_PAUSE: Duration = Duration::from_millis(200);
/// For how long: the store gives up a transaction after 10 s.
const HELD_MAX: Duration = Duration::from_secs(60);

/// Runs the command.
///
/// # Errors
/// A database without data, a key file that lacks a key or can't be written, a rotation that is under way; those of the database.
pub(crate) async fn run(command: Command, config: &Config) -> Result<(), Failure> {
    let found = wiring::inspect(&wiring::address(&config.database.url)?).await?;
    if found.keys.is_none() {
        return Err(Failure::key(
            "database.url",
            format_args!("{} has no data yet", config.database.url),
        ));
    }
    let keys = KeyFile::open(config)?;
    let instance = Instance::open(config).await?;
    let ended = match command {
        Command::Rotate { one_node } => rotate(keys, &instance, one_node).await,
        Command::ForgetOld { now } => forget(keys, &instance, kept(config, now)).await,
    };
    instance.close().await;
    ended
}

/// For how long something that was given out may come back.
fn kept(config: &Config, now: bool) -> Option<Duration> {
    (!now).then(|| IDEMPOTENCY_KEPT.max(config.events.retention))
}

/// The key file, which nobody else changes meanwhile.
struct KeyFile {
    path: PathBuf,
    keys: Vec<Key>,
    _lock: Lock,
}

impl KeyFile {
    fn open(config: &Config) -> Result<Self, Failure> {
        let path = config.key_file();
        let lock = Lock::of_key_file(&path)?;
        Ok(Self {
            keys: keyfile::keys(&path)?,
            path,
            _lock: lock,
        })
    }

    fn ids(&self) -> Vec<KeyId> {
        self.keys.iter().map(|key| key_id(*key)).collect()
    }

    fn put(&mut self, keys: Vec<Key>) -> Result<(), Failure> {
        keyfile::replace(&self.path, &keys)?;
        self.keys = keys;
        Ok(())
    }

    fn refused(&self, why: RotationRefused, now: Timestamp) -> Failure {
        let file = self.path.display();
        match why {
            RotationRefused::Missing(id) => keyfile::wrong(&self.path, &self.ids(), id),
            RotationRefused::NotForgotten(id) => Failure::Failed(format!(
                "The key {id} of the rotation before is still known. Forget it first: sipgraph secret forget-old"
            )),
            RotationRefused::Unknown(id) => Failure::Failed(format!(
                "{file} holds the key {id} behind the one in use. A new key belongs in front of it; if it is an old one, remove it: \
                 sipgraph secret forget-old"
            )),
            RotationRefused::Unfinished(id) => Failure::Failed(format!(
                "Secrets may still be sealed with the key {id}: its rotation did not end. Run first: sipgraph secret rotate"
            )),
            RotationRefused::TooEarly(id, until) => Failure::Failed(format!(
                "Cursors and idempotency keys from before the rotation need the key {id} for another {}. With --now they are refused \
                 from now on.",
                in_words(until.since(now))
            )),
        }
    }
}

async fn keys_of(storage: &Storage) -> Result<InstanceKeys, Failure> {
    let keys = storage.keys().await?;
    keys.ok_or_else(|| Failure::Failed("The database has noted no key.".to_owned()))
}

async fn rotate(mut file: KeyFile, instance: &Instance, one_node: bool) -> Result<(), Failure> {
    let storage = &*instance.storage;
    let keys = keys_of(storage).await?;
    let new =
        match rotation(&file.ids(), &keys).map_err(|why| file.refused(why, instance.app.now()))? {
            Rotation::Make => {
                let new = keyfile::make()?;
                let in_use = file.keys.clone();
                file.put([vec![new], in_use].concat())?;
                if storage.is_shared() && !one_node {
                    return super::print(&prepared(&file, key_id(new), keys.current));
                }
                Some(key_id(new))
            }
            Rotation::Begin(new) => Some(new),
            Rotation::Continue => None,
        };
    if let Some(new) = new
        && !storage.rotation_begin(keys.current, new).await?
    {
        return Err(Failure::Failed(
            "Another rotation began at this moment. Run it again to see how far it is.".to_owned(),
        ));
    }
    let done = match seal_anew(storage).await {
        Ok(done) => done,
        Err(failure) => {
            return Err(Failure::Failed(format!(
                "{failure}\nNothing is lost: run `sipgraph secret rotate` again, and it goes on."
            )));
        }
    };
    storage.rotation_end(instance.app.now()).await?;
    let keys = keys_of(storage).await?;
    super::print(&ended(&file, &keys, done))
}

fn prepared(file: &KeyFile, new: KeyId, current: KeyId) -> String {
    format!(
        "Put the new key {new} in front of {current} in {}. Nothing is sealed with it yet.\n\
         Copy this file to every other node, which reads it within 5 seconds. Then run `sipgraph secret rotate` again.\n\
         (If there is no other node: sipgraph secret rotate --one-node)",
        file.path.display()
    )
}

fn ended(file: &KeyFile, keys: &InstanceKeys, done: u64) -> String {
    let mut lines = format!("Sealed {done} secrets anew with the key {}.", keys.current);
    if let Some(previous) = keys.previous {
        let old = previous.id;
        lines.push_str(&format!(
            " Nothing is sealed with {old} any more.\n{} still holds {old}: cursors and idempotency keys from before need it. Remove it \
             when they have run out: sipgraph secret forget-old\nBackups from before need it for ever: keep a copy with them.",
            file.path.display()
        ));
    }
    lines
}

/// Seals everything anew, and gives how much that was.
async fn seal_anew(storage: &Storage) -> Result<u64, Failure> {
    let progress = Progress::new("Sealing anew", storage.rotation_left().await?);
    let mut done = 0;
    let mut held_since = Instant::now();
    loop {
        let mut place = Some(RotationPlace::default());
        while let Some(from) = place {
            let begun = Instant::now();
            let step = storage.rotation_step(from).await?;
            if step.done > 0 {
                held_since = Instant::now();
            }
            done += step.done;
            progress.at(done);
            place = step.next;
            // SQLite's lock has no queue: without a pause the server would get it by chance only.
            tokio::time::sleep(begun.elapsed()).await;
        }
        let left = storage.rotation_left().await?;
        if left == 0 {
            return Ok(done);
        }
        if held_since.elapsed() > HELD_MAX {
            return Err(Failure::Failed(format!(
                "{left} secrets are held by transactions that do not end."
            )));
        }
        tokio::time::sleep(HELD_PAUSE).await;
    }
}

async fn forget(
    mut file: KeyFile,
    instance: &Instance,
    kept: Option<Duration>,
) -> Result<(), Failure> {
    let storage = &*instance.storage;
    let keys = keys_of(storage).await?;
    let stay = forgetting(&file.ids(), &keys, instance.app.now(), kept)
        .map_err(|why| file.refused(why, instance.app.now()))?;
    let left = storage.rotation_left().await?;
    if left > 0 {
        return Err(Failure::Failed(format!(
            "{left} secrets are not sealed with the key in use, {}. Nothing was removed.",
            keys.current
        )));
    }
    let ids = file.ids();
    let old: Vec<KeyId> = match keys.previous {
        Some(previous) => vec![previous.id],
        None => behind(&ids, keys.current).to_vec(),
    };
    if old.is_empty() {
        return super::print(&format!(
            "There is no old key: everything is sealed with {}.",
            keys.current
        ));
    }
    if let Some(previous) = keys.previous
        && !storage.previous_key_forget(previous.id).await?
    {
        return Err(Failure::Failed(
            "Another command changed the keys at this moment. Nothing was removed.".to_owned(),
        ));
    }
    let left_over = file.keys[..stay].to_vec();
    if left_over.len() < file.keys.len() {
        file.put(left_over)?;
    }
    super::print(&format!(
        "Forgot {}; {} holds it no more. Copy this file to every other node, if there are any.\n\
         Backups from before its rotation still need it.",
        keyfile::named(&old),
        file.path.display()
    ))
}

/// A time to wait, rounded up.
fn in_words(time: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let seconds = time.as_secs() + 1;
    let (unit, name) = match seconds {
        ..=60 => return "minute".to_owned(),
        61..=7_200 => (MINUTE, "minutes"),
        7_201..=172_800 => (HOUR, "hours"),
        _ => (DAY, "days"),
    };
    format!("{} {name}", seconds.div_ceil(unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_words() {
        let said = |seconds| in_words(Duration::from_secs(seconds));
        assert_eq!(said(0), "minute");
        assert_eq!(said(90), "2 minutes");
        assert_eq!(said(7_199), "120 minutes");
        assert_eq!(said(86_399), "24 hours");
        assert_eq!(said(7 * 86_400 - 1), "7 days");
    }
}
