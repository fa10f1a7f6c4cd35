//! Runs the properties over the labelled texts, and over what fuzzing found.

use crate::{lines, properties};

#[test]
fn labelled_texts_keep_the_properties() {
    for case in lines("sip-uri.jsonl.gz") {
        properties::uri(case["input"].as_str().unwrap().as_bytes());
    }
    for case in lines("host.jsonl.gz") {
        properties::host(case["input"].as_str().unwrap().as_bytes());
    }
}
