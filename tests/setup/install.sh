#!/usr/bin/env bash
# Installs what the tests use besides Rust, on Debian, and only what is missing:
#   PostgreSQL (the tests start servers of their own, in temporary folders), baresip, Linphone, SIPp and
#   sipsak (real SIP clients), fail2ban (its reading of our log), Chromium and Node.js (GraphiQL and softphones in a real
#   browser), a C++ compiler (fuzzing), and the npm packages of tests/browser, tests/conformance and tests/phones.
# Runs as root or with sudo. Safe to run again: it then takes no time.
set -euo pipefail
cd "$(dirname "$0")/../.."

# The first Node.js that the browser tests and Vite run on.
NODE_MAJOR=20

missing=()
need() { # need COMMAND PACKAGE...: the packages are wanted when the command is not there
    local command=$1
    shift
    command -v "$command" >/dev/null || missing+=("$@")
}
need cc gcc libc6-dev
# libFuzzer is C++.
need c++ g++
need baresip baresip
need sipp sip-tester
need linphonec linphone-cli
need sipsak sipsak
need fail2ban-regex fail2ban
need chromium chromium
need node nodejs
need npm npm
# Debian keeps the server programs out of PATH.
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || need initdb postgresql

if ((${#missing[@]})); then
    echo "installing: ${missing[*]}"
    root=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null || {
            echo "these packages are missing, and there is neither root nor sudo: ${missing[*]}" >&2
            exit 1
        }
        root=(sudo)
    fi
    # A lock held by another apt is waited for, two minutes at most.
    apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120)
    "${apt[@]}" update </dev/null >/dev/null
    "${apt[@]}" install -y --no-install-recommends "${missing[@]}" </dev/null >/dev/null
fi

node=$(node --version)
major=${node#v}
if ((${major%%.*} < NODE_MAJOR)); then
    echo "Node.js $NODE_MAJOR or newer is needed; here is $node" >&2
    exit 1
fi

for folder in tests/browser tests/conformance tests/phones; do
    [[ -f $folder/package-lock.json ]] || continue
    stamp=$folder/node_modules/.installed-lock.json
    if ! cmp -s "$folder/package-lock.json" "$stamp"; then
        echo "npm ci in $folder"
        npm ci --prefix "$folder" --prefer-offline --no-progress --loglevel=error </dev/null
        cp "$folder/package-lock.json" "$stamp"
    fi
done
