#!/usr/bin/env bash
# Every test there is: `cargo test`, what ftpgate is built of (tests/supply-chain.sh), then the lab
# (tests/lab/README.md) against the debug build.
#
# As root on Debian the lab's packages are installed first, and not being able to run it is a
# failure. Elsewhere the lab is skipped, loudly, and counted. The last line is the counts.
set -euo pipefail
cd "$(dirname "$0")/.."

passed=0 failed=0 skipped=0
# What failed without a count of its own: a build, a crash, a lab that cannot run.
broken=0

output=$(mktemp)
trap 'rm -f "$output"' EXIT

# Sums up one word ("passed", "failed" …) over the lines in $output that bear counts.
count() {
    awk -v word="$1" '
        /^test result:/ || /^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/ {
            for (i = 2; i <= NF; i++) if ($i ~ "^" word "[,;]?$") sum += $(i - 1)
        }
        END { print sum + 0 }' "$output"
}

add_counts() {
    passed=$((passed + $(count passed)))
    failed=$((failed + $(count failed)))
    skipped=$((skipped + $(count ignored) + $(count skipped)))
}

finish() {
    if [ "$broken" -gt 0 ] && [ "$failed" -eq 0 ]; then
        failed=$broken
    fi
    echo
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ] || exit 1
    exit 0
}

step() { printf '\n== %s\n' "$*"; }

lab_possible=no
if [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ]; then
    lab_possible=yes
    step "tests/lab/setup.sh"
    if ! tests/lab/setup.sh; then
        echo "tests/run.sh: the lab's packages cannot be installed" >&2
        broken=1
        lab_possible=broken
    fi
fi

step "cargo test"
if ! cargo test --locked --no-fail-fast 2>&1 | tee "$output"; then
    broken=1
fi
add_counts

step "tests/supply-chain.sh"
if ! tests/supply-chain.sh 2>&1 | tee "$output"; then
    broken=1
fi
add_counts

if [ "$lab_possible" = no ]; then
    step "the lab"
    reason="it needs root"
    [ -e /etc/debian_version ] || reason="it needs Debian"
    cells=$(python3 tests/lab/run.py --list 2>/dev/null | wc -l) || cells=1
    [ "$cells" -gt 0 ] || cells=1
    echo "SKIPPED: $cells tests of the lab were NOT run: $reason (tests/lab/README.md)" >&2
    skipped=$((skipped + cells))
elif [ "$lab_possible" = yes ]; then
    step "the lab"
    if cargo build --locked; then
        if ! /usr/bin/python3 tests/lab/run.py --binary "${CARGO_TARGET_DIR:-target}/debug/ftpgate" \
            "$@" 2>&1 | tee "$output"; then
            broken=1
        fi
        add_counts
        # A lab that died says no counts, which must not look like a lab without failures.
        grep -Eq '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$output" || broken=1
    else
        broken=1
    fi
fi
finish
