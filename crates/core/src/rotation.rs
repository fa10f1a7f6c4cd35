//! Replacing the instance key: which keys an instance needs, and what is done next.
//!
//! The store notes the new key as the one in use; from then on it alone seals. What the key before sealed is sealed anew in steps.
//! At last that key is forgotten, once nothing that was given out under it is of use. It must not know where keys are kept, and
//! never sees one: ids are all that it needs.

use crate::Timestamp;
use crate::keyring::KeyId;
use std::time::Duration;

/// The most keys that are kept at a time: the one in use, and the one before or after it.
pub const KEYS_MAX: usize = 2;

/// The keys that an instance's secrets are sealed with, as its store has noted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceKeys {
    /// The one in use.
    pub current: KeyId,
    /// The one before it, until it is forgotten.
    pub previous: Option<PreviousKey>,
}

/// The key before the one in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreviousKey {
    /// Which it is.
    pub id: KeyId,
    /// Since when nothing is sealed with it any more; `None` while something may be.
    pub replaced_at: Option<Timestamp>,
}

impl InstanceKeys {
    /// Returns the first key without which a secret can't be opened, of those that are not in the file.
    #[must_use]
    pub fn missing(&self, file: &[KeyId]) -> Option<KeyId> {
        let previous = self.previous.filter(|key| key.replaced_at.is_none());
        let needed = std::iter::once(self.current).chain(previous.map(|key| key.id));
        needed.into_iter().find(|id| !file.contains(id))
    }
}

/// What a rotation begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// A new key is made and put before the one in use.
    Make,
    /// The file has this new key before the one in use: it is put in its place.
    Begin(KeyId),
    /// An earlier rotation did not end, and goes on.
    Continue,
}

/// Why a key is neither replaced nor forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationRefused {
    /// The file lacks a key that secrets are sealed with.
    Missing(KeyId),
    /// The key of the rotation before was not forgotten yet.
    NotForgotten(KeyId),
    /// The file has a key behind the one in use that is not the one before it.
    Unknown(KeyId),
    /// Secrets may still be sealed with the key before: its rotation did not end.
    Unfinished(KeyId),
    /// What was given out under the key before is of use until then.
    TooEarly(KeyId, Timestamp),
}

/// Decides what a rotation begins with, by the ids of the keys in the file, the newest first.
///
/// # Errors
/// [`RotationRefused::Missing`], [`RotationRefused::NotForgotten`], [`RotationRefused::Unknown`].
pub fn rotation(file: &[KeyId], keys: &InstanceKeys) -> Result<Rotation, RotationRefused> {
    if let Some(id) = keys.missing(file) {
        return Err(RotationRefused::Missing(id));
    }
    match keys.previous {
        Some(PreviousKey {
            replaced_at: None, ..
        }) => return Ok(Rotation::Continue),
        Some(previous) => return Err(RotationRefused::NotForgotten(previous.id)),
        None => {}
    }
    if let Some(id) = behind(file, keys.current).first() {
        return Err(RotationRefused::Unknown(*id));
    }
    Ok(match file {
        [new, _, ..] => Rotation::Begin(*new),
        _ => Rotation::Make,
    })
}

/// Decides how many of the file's first keys stay when the key before is forgotten; what waits in front of the one in use does.
/// `kept` is for how long cursors and calls may be repeated, `None` not to wait for that.
///
/// # Errors
/// [`RotationRefused::Missing`], [`RotationRefused::Unfinished`], [`RotationRefused::TooEarly`].
pub fn forgetting(
    file: &[KeyId],
    keys: &InstanceKeys,
    now: Timestamp,
    kept: Option<Duration>,
) -> Result<usize, RotationRefused> {
    if let Some(previous) = keys.previous {
        let Some(replaced_at) = previous.replaced_at else {
            return Err(RotationRefused::Unfinished(previous.id));
        };
        let until = kept.map(|kept| replaced_at.plus(kept));
        if let Some(until) = until.filter(|until| *until > now) {
            return Err(RotationRefused::TooEarly(previous.id, until));
        }
    }
    match file.iter().position(|id| *id == keys.current) {
        Some(place) => Ok(place + 1),
        None => Err(RotationRefused::Missing(keys.current)),
    }
}

/// The keys of the file behind the one in use.
#[must_use]
pub fn behind(file: &[KeyId], current: KeyId) -> &[KeyId] {
    let place = file.iter().position(|id| *id == current);
    place.map_or(&[], |place| &file[place + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::key_id;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const THEN: Timestamp = Timestamp(1_000_000);

    fn ids() -> [KeyId; 3] {
        [[1; 32], [2; 32], [3; 32]].map(key_id)
    }

    fn keys(current: KeyId, previous: Option<(KeyId, Option<Timestamp>)>) -> InstanceKeys {
        let previous = previous.map(|(id, replaced_at)| PreviousKey { id, replaced_at });
        InstanceKeys { current, previous }
    }

    #[test]
    fn what_a_rotation_begins_with() {
        let [a, b, c] = ids();
        let before = keys(a, None);
        assert_eq!(rotation(&[a], &before), Ok(Rotation::Make));
        assert_eq!(rotation(&[b, a], &before), Ok(Rotation::Begin(b)));
        assert_eq!(rotation(&[a, b], &before), Err(RotationRefused::Unknown(b)));
        assert_eq!(rotation(&[b], &before), Err(RotationRefused::Missing(a)));
        assert_eq!(rotation(&[], &before), Err(RotationRefused::Missing(a)));

        let within = keys(b, Some((a, None)));
        assert_eq!(rotation(&[b, a], &within), Ok(Rotation::Continue));
        assert_eq!(rotation(&[b], &within), Err(RotationRefused::Missing(a)));
        assert_eq!(rotation(&[a], &within), Err(RotationRefused::Missing(b)));

        let after = keys(b, Some((a, Some(THEN))));
        for file in [&[b, a][..], &[b], &[c, b]] {
            let refused = Err(RotationRefused::NotForgotten(a));
            assert_eq!(rotation(file, &after), refused);
        }
        assert_eq!(after.missing(&[b]), None);
        assert_eq!(after.missing(&[a]), Some(b));
    }

    #[test]
    fn when_the_key_before_is_forgotten() {
        let [a, b, c] = ids();
        let within = keys(b, Some((a, None)));
        let refused = Err(RotationRefused::Unfinished(a));
        assert_eq!(forgetting(&[b, a], &within, THEN, None), refused);

        let after = keys(b, Some((a, Some(THEN))));
        let until = THEN.plus(DAY);
        let early = Err(RotationRefused::TooEarly(a, until));
        assert_eq!(forgetting(&[b, a], &after, THEN, Some(DAY)), early);
        assert_eq!(forgetting(&[b, a], &after, until, Some(DAY)), Ok(1));
        assert_eq!(forgetting(&[b, a], &after, THEN, None), Ok(1));
        // What waits for the next rotation stays, and what is gone by hand is gone.
        assert_eq!(forgetting(&[c, b], &after, until, Some(DAY)), Ok(2));
        let missing = Err(RotationRefused::Missing(b));
        assert_eq!(forgetting(&[a], &after, until, Some(DAY)), missing);
        // It was broken off between the store and the file.
        let forgotten = keys(b, None);
        assert_eq!(forgetting(&[b, a], &forgotten, THEN, Some(DAY)), Ok(1));
        assert_eq!(forgetting(&[b], &forgotten, THEN, Some(DAY)), Ok(1));
        assert_eq!(behind(&[c, b, a], b), [a]);
        assert_eq!(behind(&[b], b), []);
        assert_eq!(behind(&[a], b), []);
    }
}
