#!/usr/bin/env bash
# Runs every test, on SQLite and on PostgreSQL, with real SIP clients and a real browser.
# Further arguments go to cargo test: tests/run.sh --test it chats
set -euo pipefail
cd "$(dirname "$0")/.."
tests/setup/install.sh
exec cargo test --workspace --locked "$@"
