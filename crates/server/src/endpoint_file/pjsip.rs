//! Rows from Asterisk's pjsip.conf: its sections of the types endpoint, auth and aor.
//!
//! An endpoint's section becomes a row; its auth section gives the password or its digest. One whose aor has a fixed contact is a
//! trunk. What has no like here, such as contexts and transports, is passed over. Templates and `(+)` are followed, `#include` is
//! not: the file is all that is read.

use super::fields;
use super::{Read, unreadable};
use sip_validate::SipUri;
use sipgraph_core::Problem;
use sipgraph_core::json::{Json, JsonObject};
use std::collections::HashMap;

/// The realm of a digest when none is named (`default_realm` of the section global).
const DEFAULT_REALM: &str = "asterisk";

/// Asterisk's names of codecs and ours; it has others, which no endpoint here can name.
const CODECS: &[(&str, &str)] = &[
    ("opus", "OPUS"),
    ("g722", "G722"),
    ("ulaw", "PCMU"),
    ("alaw", "PCMA"),
    ("vp8", "VP8"),
    ("h264", "H264"),
];

/// Asterisk's names of digests and our columns.
const DIGESTS: &[(&str, &str)] = &[
    ("MD5", "ha1Md5"),
    ("SHA-256", "ha1Sha256"),
    ("SHA-512-256", "ha1Sha512256"),
];

/// Returns the option of pjsip.conf from which a column comes.
pub(super) fn option_of(column: &str) -> &str {
    match column {
        "name" => "endpoint",
        "domain" => "--domain",
        "ha1Md5" => "md5_cred",
        "ha1Sha256" | "ha1Sha512256" => "password_digest",
        "displayName" | "callerId" => "callerid",
        "codecs" => "allow",
        "addresses" => "contact",
        "outSipUsername" | "outSipPassword" => "outbound_auth",
        other => other,
    }
}

/// An option with its line.
#[derive(Debug, Clone)]
struct Entry {
    key: String,
    value: String,
    line: u64,
}

#[derive(Debug)]
struct Section {
    name: String,
    line: u64,
    /// How far its header is in the file, in bytes.
    byte: u64,
    is_template: bool,
    entries: Vec<Entry>,
}

impl Section {
    fn entry(&self, key: &str) -> Option<&Entry> {
        let mut all = self.entries.iter().rev();
        all.find(|entry| entry.key.eq_ignore_ascii_case(key))
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.entry(key).map(|entry| entry.value.as_str())
    }

    fn is(&self, kind: &str) -> bool {
        !self.is_template && self.value("type") == Some(kind)
    }
}

/// Reads all rows.
pub(super) fn rows(text: &str, domain: &str) -> Vec<Read> {
    let (sections, mut reads) = sections(text);
    let of_kind = |kind: &'static str| -> HashMap<&str, &Section> {
        let all = sections.iter().filter(move |section| section.is(kind));
        all.map(|section| (section.name.as_str(), section))
            .collect()
    };
    let (auths, aors) = (of_kind("auth"), of_kind("aor"));
    let default_realm = sections.iter().find(|section| section.is("global"));
    let default_realm = default_realm.and_then(|section| section.value("default_realm"));
    let site = Site {
        domain,
        default_realm: default_realm.unwrap_or(DEFAULT_REALM),
        auths,
        aors,
    };
    let endpoints = sections.iter().filter(|section| section.is("endpoint"));
    reads.extend(endpoints.map(|section| site.row(section)));
    reads.sort_by_key(|read| read.line);
    reads
}

/// What rows are made from besides their own sections.
struct Site<'s> {
    domain: &'s str,
    default_realm: &'s str,
    auths: HashMap<&'s str, &'s Section>,
    aors: HashMap<&'s str, &'s Section>,
}

/// A row that is being made.
struct Row {
    values: Vec<(String, Json)>,
    lines: Vec<(&'static str, u64)>,
    problems: Vec<Problem>,
}

impl Row {
    fn put(&mut self, column: &'static str, value: Json, line: u64) {
        self.values.push((column.to_owned(), value));
        self.lines.push((column, line));
    }

    fn text(&mut self, column: &'static str, text: &str, line: u64) {
        self.put(column, Json::String(text.to_owned()), line);
    }

    fn wrong(&mut self, column: &'static str, line: u64, what: String) {
        self.lines.retain(|(known, _)| *known != column);
        self.lines.push((column, line));
        self.problems.push(Problem::validation(column, what));
    }
}

impl Site<'_> {
    fn row(&self, section: &Section) -> Read {
        let mut row = Row {
            values: Vec::new(),
            lines: Vec::new(),
            problems: Vec::new(),
        };
        let (name, line) = (section.name.as_str(), section.line);
        row.text("domain", self.domain, line);
        row.text("name", name, line);
        if let Some(entry) = section.entry("callerid") {
            // "Alice" <6001>: the number is what Asterisk's dialplan shows; here it would have to be the account's.
            let label = entry.value.split('<').next().unwrap_or_default();
            let label = label.trim().trim_matches('"').trim();
            if !label.is_empty() {
                row.text("displayName", label, entry.line);
                row.text("callerId", label, entry.line);
            }
        }
        codecs(section, &mut row);
        let contacts = self.contacts(section);
        if !contacts.is_empty() {
            trunk(&contacts, &mut row);
            if let Some(auth) = self.linked(section, "outbound_auth", &mut row) {
                for (key, column) in [
                    ("username", "outSipUsername"),
                    ("password", "outSipPassword"),
                ] {
                    if let Some(entry) = auth.entry(key) {
                        row.text(column, &entry.value, entry.line);
                    }
                }
            }
        }
        if let Some(auth) = self.linked(section, "auth", &mut row) {
            self.sign_in(name, auth, &mut row);
        } else if !contacts.is_empty() {
            row.put("authRequired", Json::Bool(false), line);
        }
        let (read, mut problems) = fields::row(row.values);
        problems.append(&mut row.problems);
        Read {
            line,
            byte: section.byte,
            row: Some(read),
            problems,
            lines: row.lines,
        }
    }

    /// Finds the auth section that an option names; Asterisk takes several, of which the first counts here.
    fn linked(&self, section: &Section, key: &'static str, row: &mut Row) -> Option<&Section> {
        let entry = section.entry(key)?;
        let named = entry.value.split(',').next().unwrap_or_default().trim();
        if named.is_empty() {
            return None;
        }
        let found = self.auths.get(named).copied();
        if found.is_none() {
            row.wrong(
                key,
                entry.line,
                format!("There is no section [{named}] of type auth."),
            );
        }
        found
    }

    fn contacts<'c>(&'c self, section: &'c Section) -> Vec<&'c Entry> {
        let aors = section.value("aors").unwrap_or_default().split(',');
        let aors = aors.filter_map(|name| self.aors.get(name.trim()).copied());
        let entries = aors.flat_map(|aor| &aor.entries);
        entries
            .filter(|entry| entry.key.eq_ignore_ascii_case("contact"))
            .collect()
    }

    /// What phones sign in with.
    fn sign_in(&self, name: &str, auth: &Section, row: &mut Row) {
        if let Some(entry) = auth.entry("username")
            && entry.value != name
        {
            let what = format!(
                "Phones sign in with the user name {}, but here an endpoint's user name is its name, {name}. Name the section so.",
                entry.value
            );
            row.wrong("username", entry.line, what);
        }
        let kind = auth.value("auth_type").unwrap_or("userpass");
        if let Some(entry) = auth.entry("password")
            && !kind.eq_ignore_ascii_case("md5")
        {
            row.text("password", &entry.value, entry.line);
            return;
        }
        let realm = auth.value("realm").unwrap_or(self.default_realm);
        let digests = auth.entries.iter().filter_map(|entry| {
            if entry.key.eq_ignore_ascii_case("md5_cred") {
                return Some(("ha1Md5", entry.value.as_str(), entry.line));
            }
            let (algorithm, digest) = entry.value.split_once(':')?;
            let mut known = DIGESTS.iter();
            let known = known.find(|(theirs, _)| theirs.eq_ignore_ascii_case(algorithm.trim()));
            let is_digest = entry.key.eq_ignore_ascii_case("password_digest");
            let (_, column) = known.filter(|_| is_digest)?;
            Some((*column, digest.trim(), entry.line))
        });
        for (column, digest, line) in digests {
            if realm.eq_ignore_ascii_case(self.domain) {
                row.text(column, digest, line);
            } else {
                let what = format!(
                    "This digest is of the realm {realm}; phones of the domain {} are asked for theirs. Give the password instead.",
                    self.domain
                );
                row.wrong(column, line, what);
            }
        }
    }
}

fn codecs(section: &Section, row: &mut Row) {
    let mut allowed: Vec<Json> = Vec::new();
    let mut line = None;
    for entry in &section.entries {
        let is_allow = entry.key.eq_ignore_ascii_case("allow");
        if !is_allow && !entry.key.eq_ignore_ascii_case("disallow") {
            continue;
        }
        for word in entry.value.split(',').map(str::trim) {
            let (name, is_allowed) = match word.strip_prefix('!') {
                Some(name) => (name, !is_allow),
                None => (word, is_allow),
            };
            if name.eq_ignore_ascii_case("all") {
                allowed.clear();
                continue;
            }
            let known = CODECS
                .iter()
                .find(|(theirs, _)| theirs.eq_ignore_ascii_case(name));
            let Some((_, ours)) = known else { continue };
            let codec = Json::String((*ours).to_owned());
            allowed.retain(|other| *other != codec);
            if is_allowed {
                allowed.push(codec);
                line = Some(entry.line);
            }
        }
    }
    if let Some(line) = line.filter(|_| !allowed.is_empty()) {
        row.put("codecs", Json::List(allowed), line);
    }
}

/// Makes a trunk of an endpoint whose contacts are fixed.
fn trunk(contacts: &[&Entry], row: &mut Row) {
    let mut addresses = Vec::new();
    let line = contacts.first().map_or(0, |entry| entry.line);
    for (entry, priority) in contacts.iter().zip(0..) {
        match SipUri::parse_received(&entry.value) {
            Ok(uri) => addresses.push(address(&uri, priority)),
            Err(violation) => row.wrong("addresses", entry.line, format!("{violation}.")),
        }
    }
    row.text("type", "THIRD_PARTY", line);
    row.put("addresses", Json::List(addresses), line);
}

fn address(uri: &SipUri<'_>, priority: u32) -> Json {
    let transport = uri.parameter("transport").unwrap_or("udp");
    let transport = transport.to_ascii_uppercase();
    let is_secure = transport == "TLS";
    let port = uri.port.unwrap_or(if is_secure { 5061 } else { 5060 });
    Json::Object(JsonObject::from([
        ("ip".to_owned(), Json::String(uri.host.to_string())),
        ("port".to_owned(), Json::Number(port.to_string())),
        ("transport".to_owned(), Json::String(transport)),
        ("priority".to_owned(), Json::Number(priority.to_string())),
    ]))
}

/// Reads the sections, and what can't be followed as rows of its own.
fn sections(text: &str) -> (Vec<Section>, Vec<Read>) {
    let mut sections: Vec<Section> = Vec::new();
    let mut reads = Vec::new();
    let mut is_in_comment = false;
    let mut current: Option<usize> = None;
    let mut byte = 0;
    for (line, number) in text.split_inclusive('\n').zip(1..) {
        byte += u64::try_from(line.len()).unwrap_or(u64::MAX);
        let line = uncommented(line, &mut is_in_comment);
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if line.starts_with('#') {
            let what = "Other files are not read: put them together into one.";
            reads.push(unreadable(number, byte, None, what));
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            let Some((name, options)) = header.split_once(']') else {
                reads.push(unreadable(number, byte, None, "This header has no end."));
                continue;
            };
            current = Some(begin(&mut sections, name.trim(), options, number, byte));
            continue;
        }
        let entry = line.split_once('=').zip(current);
        let Some(((key, value), current)) = entry else {
            let what = "This is neither a section nor an option with a value.";
            reads.push(unreadable(number, byte, None, what));
            continue;
        };
        let value = value.strip_prefix('>').unwrap_or(value);
        if let Some(section) = sections.get_mut(current) {
            section.entries.push(Entry {
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
                line: number,
            });
        }
    }
    (sections, reads)
}

/// Begins a section, or goes on with one; gives its place.
fn begin(sections: &mut Vec<Section>, name: &str, options: &str, line: u64, byte: u64) -> usize {
    let options = options.trim().trim_start_matches('(').trim_end_matches(')');
    let options: Vec<&str> = options.split(',').map(str::trim).collect();
    let known = |name: &str| sections.iter().rposition(|section| section.name == name);
    if options.contains(&"+")
        && let Some(at) = known(name)
    {
        return at;
    }
    let templates = options.iter().filter_map(|option| known(option));
    let entries = templates.filter_map(|at| sections.get(at));
    let entries = entries
        .flat_map(|section| section.entries.clone())
        .collect();
    sections.push(Section {
        name: name.to_owned(),
        line,
        byte,
        is_template: options.contains(&"!"),
        entries,
    });
    sections.len() - 1
}

/// A line without its comments: `;` to its end, `;--` to `--;` over lines. A `\;` is a semicolon.
fn uncommented(line: &str, is_in_comment: &mut bool) -> String {
    let mut kept = String::new();
    let mut rest = line;
    loop {
        if *is_in_comment {
            let Some((_, behind)) = rest.split_once("--;") else {
                return kept;
            };
            *is_in_comment = false;
            rest = behind;
        }
        let Some(at) = rest.find(';') else {
            kept.push_str(rest);
            return kept;
        };
        let (before, behind) = rest.split_at(at);
        if let Some(text) = before.strip_suffix('\\') {
            kept.push_str(text);
            kept.push(';');
            rest = behind.strip_prefix(';').unwrap_or_default();
            continue;
        }
        kept.push_str(before);
        match behind.strip_prefix(";--") {
            Some(comment) => {
                *is_in_comment = true;
                rest = comment;
            }
            None => return kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_passed_over() {
        let mut is_in = false;
        assert_eq!(uncommented("a=b ; c", &mut is_in), "a=b ");
        assert_eq!(uncommented(r"a=b\;c;d", &mut is_in), "a=b;c");
        assert_eq!(uncommented("a=1 ;-- x --; b", &mut is_in), "a=1  b");
        assert_eq!(uncommented("a ;-- x", &mut is_in), "a ");
        assert_eq!(uncommented("y", &mut is_in), "");
        assert_eq!(uncommented("z --;b", &mut is_in), "b");
    }

    #[test]
    fn templates_give_what_a_section_does_not_say() {
        let text = "[phone](!)\ntype=endpoint\nallow=ulaw\n[a](phone)\nallow=!all,opus\n[a](+)\ncallerid=\"A B\" <1>\n";
        let (sections, reads) = sections(text);
        assert!(reads.is_empty());
        let a = sections.iter().find(|s| s.is("endpoint")).unwrap();
        assert_eq!((a.name.as_str(), a.entries.len()), ("a", 4));
        let [row] = &rows(text, "example.com")[..] else {
            panic!("one row");
        };
        let row = row.row.as_ref().unwrap();
        assert_eq!(row.name, "a");
        let settings = &row.settings;
        assert_eq!(settings.display_name.value().unwrap(), "A B");
        assert_eq!(settings.codecs.value().unwrap().len(), 1);
    }
}
