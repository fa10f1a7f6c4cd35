//! Every line of the digest vectors through real sockets: the user, password, algorithm and protection of the line,
//! with a nonce that the edge gave.

use md5::Md5;
use serde_json::Value;
use sha2::{Digest as _, Sha256, Sha512_256};
use sipgraph_core::digest::DigestAlgorithm;

use crate::harness::Harness;
use crate::phone::Phone;

/// What a device hashes.
struct Answer<'a> {
    algorithm: &'a str,
    user: &'a str,
    realm: &'a str,
    password: Vec<u8>,
    nonce: &'a str,
    /// nc, cnonce and qop.
    protection: Option<(&'a str, &'a str, &'a str)>,
    method: &'a str,
    uri: &'a str,
    body: &'a str,
}

impl Answer<'_> {
    fn hash(&self, octets: &[u8]) -> String {
        let octets = match self.algorithm {
            "MD5" => Md5::digest(octets).to_vec(),
            "SHA-256" => Sha256::digest(octets).to_vec(),
            "SHA-512-256" => Sha512_256::digest(octets).to_vec(),
            other => panic!("{other}"),
        };
        octets.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    fn response(&self) -> String {
        let Self {
            user,
            realm,
            nonce,
            method,
            uri,
            ..
        } = self;
        let ha1 = self.hash(&[format!("{user}:{realm}:").as_bytes(), &self.password].concat());
        let ha2 = match self.protection {
            Some((_, _, "auth-int")) => {
                let body = self.hash(self.body.as_bytes());
                self.hash(format!("{method}:{uri}:{body}").as_bytes())
            }
            _ => self.hash(format!("{method}:{uri}").as_bytes()),
        };
        self.hash(
            match self.protection {
                Some((nc, cnonce, qop)) => {
                    format!("{ha1}:{nonce}:{nc}:{cnonce}:{qop}:{ha2}").into_bytes()
                }
                None => format!("{ha1}:{nonce}:{ha2}").into_bytes(),
            }
            .as_slice(),
        )
    }
}

fn text<'a>(line: &'a Value, name: &str) -> Option<&'a str> {
    line[name].as_str()
}

/// Logs the user of a line in, by UTF-8 or ISO 8859-1, and gives the status.
async fn log_in(harness: &Harness, line: &Value, password: Vec<u8>) -> u16 {
    let field = |name: &str| text(line, name).unwrap();
    let protection = text(line, "qop").map(|qop| (field("nc"), field("cnonce"), qop));
    // The vector first: this device hashes as the others do.
    let vector = Answer {
        algorithm: field("alg"),
        user: field("user"),
        realm: field("realm"),
        nonce: field("nonce"),
        method: field("method"),
        uri: field("uri"),
        body: text(line, "body").unwrap_or_default(),
        protection,
        password,
    };
    let expected = [text(line, "response"), text(line, "response_if_latin1")];
    assert!(
        expected.contains(&Some(vector.response().as_str())),
        "{line}"
    );
    // Then the same with what the edge asks.
    let mut phone = Phone::udp(harness.udp, vector.user, "example.com", "").await;
    let is_message = vector
        .protection
        .is_some_and(|(_, _, qop)| qop == "auth-int");
    let (method, uri, fields) = if is_message {
        let fields = "Content-Type: text/plain\r\n".to_owned();
        ("MESSAGE", "sip:sender@example.com", fields)
    } else {
        let fields = format!("Contact: {}\r\n", phone.contact());
        ("REGISTER", "sip:example.com", fields)
    };
    let asked = phone.ask(method, uri, &fields, vector.body).await;
    let challenges = asked.all("WWW-Authenticate");
    assert_eq!((asked.status(), challenges.len()), (401, 1), "{asked:?}");
    let given = |name: &str| {
        let rest = challenges[0].split(&format!("{name}=")).nth(1).unwrap();
        rest.split(',').next().unwrap().trim_matches('"').to_owned()
    };
    assert_eq!(given("algorithm"), vector.algorithm);
    let (realm, nonce) = (given("realm"), given("nonce"));
    let answer = Answer {
        realm: &realm,
        nonce: &nonce,
        method,
        uri,
        ..vector
    };
    let response = answer.response();
    let protection = answer
        .protection
        .map_or(String::new(), |(nc, cnonce, qop)| {
            format!(", qop={qop}, nc={nc}, cnonce=\"{cnonce}\"")
        });
    let fields = format!(
        "{fields}Authorization: Digest username=\"{}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\", algorithm={}{protection}\r\n",
        answer.user, answer.algorithm
    );
    phone.ask(method, uri, &fields, answer.body).await.status()
}

#[tokio::test]
async fn every_line_of_the_vectors_logs_in() {
    let lines: Vec<Value> = include_str!("../data/digest.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut logged_in = 0;
    for algorithm in DigestAlgorithm::ALL {
        let harness = Harness::start_with(&[algorithm]).await;
        let of_algorithm = |line: &&Value| text(line, "alg") == Some(algorithm.token());
        for line in lines.iter().filter(of_algorithm) {
            let (user, password) = (text(line, "user").unwrap(), text(line, "pwd").unwrap());
            harness.endpoint_with(user, password, true).await;
            let expected = match text(line, "qop") {
                Some("auth-int") => 202,
                _ => 200,
            };
            let utf8 = password.as_bytes().to_vec();
            assert_eq!(log_in(&harness, line, utf8).await, expected, "{line}");
            if line["response_if_latin1"].is_string() {
                let latin1 = password
                    .chars()
                    .map(|c| u8::try_from(u32::from(c)).unwrap());
                let status = log_in(&harness, line, latin1.collect()).await;
                assert_eq!(status, expected, "{line}");
            }
            logged_in += 1;
        }
    }
    assert_eq!(logged_in, 120);
}
