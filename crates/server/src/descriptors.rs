//! The limit of open file descriptors, of which each connection takes one. It knows the configuration alone.

use crate::config::{Config, DatabaseUrl};

/// What is open besides connections: listeners, the database's files, the runtime's own, standard streams. Generous:
/// it is only for a warning.
const BESIDES: usize = 64;

/// Raises the soft limit, often 1024, to the hard one, and warns when the configuration allows more connections.
pub(crate) fn raise(config: &Config) {
    let needed = needed(config);
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < needed => tracing::warn!(
            limit,
            needed,
            "the system allows fewer open files than http.connections_max and sip.connections_max need; raise it \
             (LimitNOFILE of systemd, --ulimit nofile of Docker) or lower them"
        ),
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
    }
}

/// Returns how many descriptors are open at most.
fn needed(config: &Config) -> u64 {
    let database = match config.database.url {
        DatabaseUrl::Sqlite(_) => 0,
        DatabaseUrl::Postgres(_) => config
            .database
            .postgres_pool_size
            .saturating_add(config.database.postgres_writers),
    };
    let sum = [
        config.http.connections_max,
        config.sip.connections_max,
        database,
    ]
    .into_iter()
    .fold(BESIDES, usize::saturating_add);
    u64::try_from(sum).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_that_may_be_open_is_counted() {
        let mut config = Config::layered(None, []).unwrap();
        (config.http.connections_max, config.sip.connections_max) = (100, 20);
        (
            config.database.postgres_pool_size,
            config.database.postgres_writers,
        ) = (4, 3);
        assert_eq!(needed(&config), 184);
        config.database.url = "postgres://h/db".parse().unwrap();
        assert_eq!(needed(&config), 191);
        config.http.connections_max = usize::MAX;
        assert_eq!(needed(&config), u64::MAX);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        raise(&Config::layered(None, []).unwrap());
        let (soft, hard) = rlimit::Resource::NOFILE.get().unwrap();
        assert_eq!(soft, hard);
    }
}
