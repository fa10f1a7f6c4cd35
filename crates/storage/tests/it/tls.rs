//! TLS to Postgres, by the modes of libpq.

use std::path::Path;

use sipgraph_storage::{Address, PostgresConnector, StartError, inspect};
use sipgraph_testkit::{Cluster, ClusterOptions, Database, block_on, certificates::Authority};

/// Connects with these parameters and says whether the session is encrypted.
async fn encrypted(database: &Database, host: &str, parameters: &str) -> Result<bool, String> {
    let url = format!("{}?{parameters}", database.url().replace("127.0.0.1", host));
    let connector = PostgresConnector::parse(&url).map_err(|error| error.to_string())?;
    let (client, mut messages) = connector.connect().await.map_err(|error| {
        let mut text = error.to_string();
        if let Some(source) = std::error::Error::source(&error) {
            text = format!("{text}: {source}");
        }
        text
    })?;
    let driver = tokio::spawn(async move {
        while let Some(Ok(_)) = futures_util::StreamExt::next(&mut messages).await {}
    });
    let row = client
        .query_one(
            "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
            &[],
        )
        .await
        .unwrap();
    drop(client);
    driver.await.unwrap();
    Ok(row.get(0))
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn the_modes_of_libpq_are_honoured() {
    block_on(async {
        let authority = Authority::new();
        let tls = Some(authority.issue(&["localhost"]));
        let cluster = tokio::task::spawn_blocking(|| {
            Cluster::start(ClusterOptions {
                tls,
                ..ClusterOptions::default()
            })
        })
        .await
        .unwrap();
        let database = Database::on(&cluster).await;
        let folder = tempfile::tempdir().unwrap();
        let right = write(folder.path(), "right.pem", &authority.certificate_pem());
        let wrong = write(
            folder.path(),
            "wrong.pem",
            &Authority::new().certificate_pem(),
        );
        let empty = write(folder.path(), "empty.pem", "");

        let good = [
            ("127.0.0.1", String::new()),
            ("127.0.0.1", "sslmode=prefer".to_owned()),
            ("127.0.0.1", "sslmode=require".to_owned()),
            ("127.0.0.1", format!("sslmode=require&sslrootcert={right}")),
            (
                "127.0.0.1",
                format!("sslmode=verify-ca&sslrootcert={right}"),
            ),
            (
                "localhost",
                format!("sslmode=verify-full&sslrootcert={right}"),
            ),
        ];
        for (host, parameters) in good {
            assert_eq!(
                encrypted(&database, host, &parameters).await,
                Ok(true),
                "{host} {parameters}"
            );
        }
        let bad = [
            // The server takes TCP with TLS only.
            (
                "127.0.0.1",
                "sslmode=disable".to_owned(),
                "no pg_hba.conf entry",
            ),
            // The certificate is for localhost.
            (
                "127.0.0.1",
                format!("sslmode=verify-full&sslrootcert={right}"),
                "not valid for",
            ),
            (
                "localhost",
                format!("sslmode=verify-full&sslrootcert={wrong}"),
                "invalid peer certificate",
            ),
            (
                "localhost",
                format!("sslmode=verify-ca&sslrootcert={wrong}"),
                "invalid peer certificate",
            ),
            (
                "localhost",
                format!("sslmode=require&sslrootcert={wrong}"),
                "invalid peer certificate",
            ),
            (
                "localhost",
                format!("sslmode=verify-full&sslrootcert={empty}"),
                "no certificate",
            ),
        ];
        for (host, parameters, reason) in bad {
            let error = encrypted(&database, host, &parameters).await.unwrap_err();
            assert!(error.contains(reason), "{host} {parameters}: {error}");
        }

        // The store itself speaks TLS, and says why it can't start without.
        let url = |parameters: &str| {
            format!(
                "{}?{parameters}",
                database.url().replace("127.0.0.1", "localhost")
            )
        };
        let address =
            Address::parse(&url(&format!("sslmode=verify-full&sslrootcert={right}"))).unwrap();
        assert!(!inspect(&address).await.unwrap().pending.is_empty());
        let address =
            Address::parse(&url(&format!("sslmode=verify-full&sslrootcert={wrong}"))).unwrap();
        let error = inspect(&address).await.unwrap_err();
        assert!(
            matches!(&error, StartError::Unreachable(reason) if reason.contains("certificate")),
            "{error}"
        );
    });
}

/// A server without TLS: `prefer` goes on in the clear, `require` does not.
#[test]
fn prefer_does_without_and_require_does_not() {
    block_on(async {
        let database = Database::postgres().await;
        assert_eq!(
            encrypted(&database, "127.0.0.1", "sslmode=prefer").await,
            Ok(false)
        );
        assert_eq!(
            encrypted(&database, "127.0.0.1", "sslmode=disable").await,
            Ok(false)
        );
        let error = encrypted(&database, "127.0.0.1", "sslmode=require")
            .await
            .unwrap_err();
        assert!(error.contains("TLS"), "{error}");
    });
}
