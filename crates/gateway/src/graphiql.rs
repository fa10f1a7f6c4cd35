//! The GraphiQL page, carried in the binary as it was compressed when it was built. It loads nothing from another host.

use std::collections::HashMap;

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use include_dir::{Dir, include_dir};
use serde::Deserialize;

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/assets/graphiql");

/// What the page may load and who may frame it.
const SECURITY: [(HeaderName, HeaderValue); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'self'; style-src 'self' 'unsafe-inline'; worker-src 'self' blob:; \
             img-src 'self' data:; font-src 'self' data:; base-uri 'self'; form-action 'none'; \
             frame-ancestors 'none'",
        ),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (header::VARY, HeaderValue::from_static("accept-encoding")),
];

/// The list that the build of the page writes.
#[derive(Deserialize)]
struct Manifest {
    files: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    path: String,
    file: String,
    content_type: String,
    encoding: String,
    sha256: String,
    /// The name holds a hash of the contents.
    immutable: bool,
}

/// The files of the page by path.
pub(crate) struct Assets(HashMap<String, Asset>);

struct Asset {
    bytes: &'static [u8],
    headers: HeaderMap,
    etag: HeaderValue,
}

impl Assets {
    /// Reads the list of the files in the binary. A file that the list does not describe is not served; a test holds that
    /// there is none.
    pub(crate) fn load() -> Self {
        let manifest = FILES
            .get_file("manifest.json")
            .and_then(|file| serde_json::from_slice::<Manifest>(file.contents()).ok());
        let entries = manifest.map(|manifest| manifest.files).unwrap_or_default();
        Self(entries.into_iter().filter_map(Asset::load).collect())
    }

    /// Answers a GET for a path without its leading slash; the page itself has the empty path.
    pub(crate) fn answer(&self, path: &str, headers: &HeaderMap) -> Option<Response> {
        let path = if path.is_empty() { "index.html" } else { path };
        let asset = self.0.get(path)?;
        let known = headers
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .any(|tag| tag == asset.etag);
        let mut response = if known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            Bytes::from_static(asset.bytes).into_response()
        };
        response.headers_mut().extend(asset.headers.clone());
        Some(response)
    }
}

impl Asset {
    fn load(entry: Entry) -> Option<(String, Self)> {
        let bytes = FILES.get_file(&entry.file)?.contents();
        let value = |text: &str| HeaderValue::from_str(text).ok();
        let etag = value(&format!("\"{}\"", entry.sha256))?;
        let cache = if entry.immutable {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        };
        let mut headers = HeaderMap::from_iter(SECURITY);
        headers.insert(header::CONTENT_TYPE, value(&entry.content_type)?);
        headers.insert(header::CONTENT_ENCODING, value(&entry.encoding)?);
        headers.insert(header::CACHE_CONTROL, value(cache)?);
        headers.insert(header::ETAG, etag.clone());
        let asset = Self {
            bytes,
            headers,
            etag,
        };
        Some((entry.path, asset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(folder: &Dir<'_>) -> usize {
        folder.files().count() + folder.dirs().map(count).sum::<usize>()
    }

    #[test]
    fn every_file_is_listed() {
        let assets = Assets::load();
        assert_eq!(assets.0.len(), count(&FILES) - 1, "all but the list itself");
        assert!(assets.0.contains_key("index.html"));
    }

    #[test]
    fn a_known_file_is_not_sent_again() {
        let assets = Assets::load();
        let first = assets.answer("", &HeaderMap::new()).unwrap();
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(first.headers()[header::CONTENT_ENCODING], "gzip");
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        let again = assets.answer("index.html", &headers).unwrap();
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert!(assets.answer("../Cargo.toml", &headers).is_none());
    }
}
