//! The names of header fields.

/// Writes the names as variants, and a table of them.
macro_rules! names {
    ($($variant:ident $long:literal $compact:literal $source:literal,)*) => {
        /// The name of a header field; compact forms are the same names.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Name {
            $(
                #[doc = concat!("`", $long, "` (", $source, ").")]
                $variant,
            )*
            /// Any other field.
            Other,
        }

        /// Each name in its full and its compact form; the latter is empty where there is none.
        const NAMES: &[(Name, &str, &str)] = &[$((Name::$variant, $long, $compact),)*];
    };
}

names! {
    Accept "Accept" "" "RFC 3261 section 20.1",
    AcceptEncoding "Accept-Encoding" "" "RFC 3261 section 20.2",
    AcceptLanguage "Accept-Language" "" "RFC 3261 section 20.3",
    Allow "Allow" "" "RFC 3261 section 20.5",
    AllowEvents "Allow-Events" "u" "RFC 6665 section 8.2.2",
    AuthenticationInfo "Authentication-Info" "" "RFC 3261 section 20.6",
    Authorization "Authorization" "" "RFC 3261 section 20.7",
    CallId "Call-ID" "i" "RFC 3261 section 20.8",
    Contact "Contact" "m" "RFC 3261 section 20.10",
    ContentDisposition "Content-Disposition" "" "RFC 3261 section 20.11",
    ContentEncoding "Content-Encoding" "e" "RFC 3261 section 20.12",
    ContentLanguage "Content-Language" "" "RFC 3261 section 20.13",
    ContentLength "Content-Length" "l" "RFC 3261 section 20.14",
    ContentType "Content-Type" "c" "RFC 3261 section 20.15",
    CSeq "CSeq" "" "RFC 3261 section 20.16",
    Date "Date" "" "RFC 3261 section 20.17",
    Event "Event" "o" "RFC 6665 section 8.2.1",
    Expires "Expires" "" "RFC 3261 section 20.19",
    FlowTimer "Flow-Timer" "" "RFC 5626 section 10",
    From "From" "f" "RFC 3261 section 20.20",
    MaxForwards "Max-Forwards" "" "RFC 3261 section 20.22",
    MinExpires "Min-Expires" "" "RFC 3261 section 20.23",
    Organization "Organization" "" "RFC 3261 section 20.25",
    Path "Path" "" "RFC 3327 section 4",
    Priority "Priority" "" "RFC 3261 section 20.26",
    ProxyAuthenticate "Proxy-Authenticate" "" "RFC 3261 section 20.27",
    ProxyAuthorization "Proxy-Authorization" "" "RFC 3261 section 20.28",
    ProxyRequire "Proxy-Require" "" "RFC 3261 section 20.29",
    RecordRoute "Record-Route" "" "RFC 3261 section 20.30",
    Require "Require" "" "RFC 3261 section 20.32",
    RetryAfter "Retry-After" "" "RFC 3261 section 20.33",
    Route "Route" "" "RFC 3261 section 20.34",
    Server "Server" "" "RFC 3261 section 20.35",
    Subject "Subject" "s" "RFC 3261 section 20.36",
    Supported "Supported" "k" "RFC 3261 section 20.37",
    To "To" "t" "RFC 3261 section 20.39",
    Unsupported "Unsupported" "" "RFC 3261 section 20.40",
    UserAgent "User-Agent" "" "RFC 3261 section 20.41",
    Via "Via" "v" "RFC 3261 section 20.42",
    WwwAuthenticate "WWW-Authenticate" "" "RFC 3261 section 20.44",
}

/// The slots of the hash table: a power of two, at least four for each entry.
const SLOTS: usize = 256;

/// For each hash the entries of [`NAMES`] from there on, as index + 1; 0 ends the search.
const TABLE: [u8; SLOTS] = {
    let mut table = [0; SLOTS];
    let mut i = 0;
    while i < NAMES.len() {
        let (_, long, compact) = NAMES[i];
        #[expect(
            clippy::as_conversions,
            reason = "From is not const; there are fewer than 255 names"
        )]
        let entry = i as u8 + 1;
        table = put(table, long.as_bytes(), entry);
        if !compact.is_empty() {
            table = put(table, compact.as_bytes(), entry);
        }
        i += 1;
    }
    table
};

const fn put(mut table: [u8; SLOTS], text: &[u8], entry: u8) -> [u8; SLOTS] {
    let mut slot = hash(text);
    while table[slot] != 0 {
        slot = (slot + 1) % SLOTS;
    }
    table[slot] = entry;
    table
}

/// A hash by length, first and last letter; the case does not count.
#[expect(
    clippy::as_conversions,
    reason = "From is not const; u8 to usize is lossless"
)]
const fn hash(text: &[u8]) -> usize {
    let first = (text[0] | 0x20) as usize;
    let last = (text[text.len() - 1] | 0x20) as usize;
    (text.len() * 37 + first * 7 + last * 3) % SLOTS
}

impl Name {
    /// The name that `text` is the full or the compact form of, without regard to case.
    #[must_use]
    pub fn read(text: &str) -> Self {
        if text.is_empty() {
            return Self::Other;
        }
        let mut slot = hash(text.as_bytes());
        // Ends: most slots are empty.
        while let Some(entry) = usize::from(TABLE[slot]).checked_sub(1) {
            let (name, long, compact) = NAMES[entry];
            if text.eq_ignore_ascii_case(long) || text.eq_ignore_ascii_case(compact) {
                return name;
            }
            slot = (slot + 1) % SLOTS;
        }
        Self::Other
    }

    /// The full form, as RFC 3261 writes it; empty for [`Name::Other`].
    #[must_use]
    pub fn text(self) -> &'static str {
        let known = NAMES.iter().find(|(name, ..)| *name == self);
        known.map_or("", |(_, long, _)| long)
    }

    /// Whether the value is free text that nobody parses, so that odd octets in it do no harm.
    pub(super) fn is_free_text(self) -> bool {
        matches!(
            self,
            Self::Organization | Self::Server | Self::Subject | Self::UserAgent | Self::Other
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_both_forms_and_any_case() {
        for (name, long, compact) in NAMES {
            assert_eq!(Name::read(long), *name);
            assert_eq!(Name::read(&long.to_ascii_uppercase()), *name);
            assert_eq!(name.text(), *long);
            if !compact.is_empty() {
                assert_eq!(Name::read(compact), *name);
                assert_eq!(Name::read(&compact.to_ascii_uppercase()), *name);
            }
        }
        for other in ["", "x", "C%6Fntact", "Vias", "Vi", "X-Via", "Call_ID"] {
            assert_eq!(Name::read(other), Name::Other, "{other}");
        }
    }
}
