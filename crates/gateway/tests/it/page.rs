//! The addresses besides `/graphql`.

use crate::harness::Gateway;

#[tokio::test(flavor = "multi_thread")]
async fn the_explorer_is_served_from_here_alone() {
    let gateway = Gateway::start().await;
    let (status, head, body) = gateway.get("/").await;
    let head = head.to_ascii_lowercase();
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/html; charset=utf-8"));
    assert!(head.contains("content-encoding: gzip"));
    assert!(head.contains("content-security-policy: default-src 'self'; "));
    assert!(head.contains("x-content-type-options: nosniff"));
    assert!(head.contains("cache-control: no-cache"));
    assert_eq!(body[..2], [0x1F, 0x8B], "a gzip stream");
    for path in ["/nothing", "/../Cargo.toml", "/manifest.json"] {
        assert_eq!(gateway.get(path).await.0, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told() {
    let gateway = Gateway::start().await;
    assert_eq!(gateway.get("/healthz").await.0, 204);
    assert_eq!(gateway.get("/readyz").await.0, 204);
    gateway.drain.begin();
    assert_eq!(gateway.get("/healthz").await.0, 204);
    assert_eq!(gateway.get("/readyz").await.0, 503);
}
