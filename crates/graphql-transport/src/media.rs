//! Media types of GraphQL over HTTP: what a request may be sent as, what its answer is sent as.

use axum::http::{HeaderMap, header};

/// The media type of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    /// `application/json`: a GraphQL request error has status 200.
    Json,
    /// `application/graphql-response+json`: a GraphQL request error has status 400.
    GraphqlResponse,
}

impl Media {
    /// Returns the value of `Content-Type`.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json; charset=utf-8",
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
        }
    }
}

/// Returns the media type that `Accept` prefers, by quality, then by how exact it is; none when it
/// allows neither.
///
/// No `Accept`, `*/*` and `application/*` mean `application/json`: clients from before the
/// specification send these and expect it.
pub(crate) fn negotiate(headers: &HeaderMap) -> Option<Media> {
    let mut accepts = headers.get_all(header::ACCEPT).iter().peekable();
    if accepts.peek().is_none() {
        return Some(Media::Json);
    }
    let ranges = accepts
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let mut best: Option<(Rank, Media)> = None;
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let Some((specificity, media)) = parts.next().and_then(known) else {
            continue;
        };
        let quality = parts.find_map(quality).unwrap_or(1000);
        let rank = Rank {
            quality,
            specificity,
        };
        if quality > 0 && best.is_none_or(|(ranked, _)| rank > ranked) {
            best = Some((rank, media));
        }
    }
    best.map(|(_, media)| media)
}

/// How much a client prefers a media type; the fields compare in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// Thousandths, RFC 9110 12.4.2.
    quality: u16,
    specificity: u8,
}

fn known(range: &str) -> Option<(u8, Media)> {
    Some(match range.to_ascii_lowercase().as_str() {
        "application/graphql-response+json" => (4, Media::GraphqlResponse),
        "application/json" => (3, Media::Json),
        "application/*" => (2, Media::Json),
        "*/*" => (1, Media::Json),
        _ => return None,
    })
}

/// Returns the thousandths of a `q` parameter; 0 for one that is not a number.
fn quality(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let (whole, fraction) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    let digits = format!("{fraction:0<3}");
    let thousandths = whole
        .parse::<u16>()
        .ok()
        .zip(
            digits
                .get(..3)
                .and_then(|digits| digits.parse::<u16>().ok()),
        )
        .map_or(0, |(whole, fraction)| {
            whole.saturating_mul(1000).saturating_add(fraction)
        });
    Some(thousandths.min(1000))
}

/// Returns whether the body is `application/json`, in UTF-8 when it says so.
///
/// A browser can send `text/plain` to another site without asking first, so that nothing else is
/// taken.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let mut parts = value.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let utf8 = parts
        .filter_map(|part| part.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .all(|(_, charset)| {
            charset
                .trim()
                .trim_matches('"')
                .eq_ignore_ascii_case("utf-8")
        });
    essence.eq_ignore_ascii_case("application/json") && utf8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &str) -> Option<Media> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, value.parse().unwrap());
        negotiate(&headers)
    }

    #[test]
    fn accept_is_negotiated() {
        let table = [
            ("*/*", Some(Media::Json)),
            ("application/*", Some(Media::Json)),
            ("application/json", Some(Media::Json)),
            (
                "application/graphql-response+json",
                Some(Media::GraphqlResponse),
            ),
            (
                "application/graphql-response+json, application/json;q=0.9",
                Some(Media::GraphqlResponse),
            ),
            (
                "application/graphql-response+json;q=0.5, application/json;q=0.50001",
                Some(Media::GraphqlResponse),
            ),
            (
                "application/graphql-response+json;q=0.5,application/json;q=0.9",
                Some(Media::Json),
            ),
            (
                "application/json, application/graphql-response+json",
                Some(Media::GraphqlResponse),
            ),
            ("application/json; charset=utf-8", Some(Media::Json)),
            ("application/json;q=0", None),
            ("application/json;q=x", None),
            ("text/html", None),
            ("text/html, */*;q=0.1", Some(Media::Json)),
            ("", None),
        ];
        for (value, expected) in table {
            assert_eq!(accept(value), expected, "{value}");
        }
        assert_eq!(negotiate(&HeaderMap::new()), Some(Media::Json));
    }

    #[test]
    fn bodies_are_json_in_utf8() {
        let table = [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/json; charset=\"utf-8\"", true),
            ("application/json; charset=latin1", false),
            ("text/plain", false),
            ("application/jsonp", false),
            ("", false),
        ];
        for (value, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            assert_eq!(is_json(&headers), expected, "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
