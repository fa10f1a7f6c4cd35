//! Runs the properties over the labelled texts, and over what fuzzing found.

use crate::{corpus, properties};

#[test]
fn labelled_texts_keep_the_properties() {
    for (rule, text) in corpus::labelled() {
        match &*rule {
            "sip-uri" => properties::uri(text.as_bytes()),
            "host" => properties::host(text.as_bytes()),
            _ => {}
        }
    }
}
