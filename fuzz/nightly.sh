#!/bin/sh
# Grows the corpora of all fuzz targets (or of those named), minimises them, and prints a table.
# Ends with 1 if there was a finding, whose input then lies in fuzz/artifacts/TARGET/.
#
#   fuzz/nightly.sh [-s SECONDS] [-j JOBS] [-t TOOLCHAIN] [TARGET...]
#
# -s  how long each target runs (1800), -j  how many run at a time (2), -t  the toolchain (nightly).
# Needs cargo-fuzz. Without network once the crates are there.
set -eu
cd "$(dirname "$0")"

seconds=1800 jobs=2 toolchain=nightly
while getopts s:j:t: option; do
    case $option in
    s) seconds=$OPTARG ;;
    j) jobs=$OPTARG ;;
    t) toolchain=$OPTARG ;;
    *) sed -n '5,7s/^# *//p' "$0" >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
all=$(sed -n 's/^name = "\(.*\)"$/\1/p' Cargo.toml | grep -v '^ftpgate-fuzz$')
targets=${*:-$all}
for target in $targets; do
    echo "$all" | grep -qx "$target" || { echo "no target $target: one of" $all >&2; exit 2; }
done

cargo "+$toolchain" fuzz build
folder=target/nightly
rm -rf "$folder"
mkdir -p "$folder"
binaries=$(ls -d target/*-linux-*/release | head -n 1)
export folder binaries seconds

# One target: a copy of its corpus grows, and what it needs of that comes back. What is told to the
# fuzzer bounds an input to 4 KiB (no line is longer but a few; 16 KiB for files), 60 s and 3 GB.
cat >"$folder/one.sh" <<'ONE'
target=$1
grown=$folder/$target.corpus
cp -r "corpus/$target" "$grown"
mkdir -p "artifacts/$target"
longest=4096
case $target in config | observe) longest=16384 ;; esac
dictionary=
[ -f "dictionaries/$target" ] && dictionary=-dict=dictionaries/$target
code=0
"$binaries/$target" -max_total_time="$seconds" -max_len=$longest -timeout=60 -rss_limit_mb=3000 \
    -print_final_stats=1 -artifact_prefix="artifacts/$target/" $dictionary "$grown" \
    >"$folder/$target.log" 2>&1 || code=$?
echo "$code" >"$folder/$target.code"
# Only what reaches something new beside the corpus is taken, the shortest first.
if [ "$code" = 0 ]; then
    "$binaries/$target" -merge=1 "corpus/$target" "$grown" >>"$folder/$target.log" 2>&1
fi
ONE
for target in $targets; do echo "$target"; done |
    xargs -P "$jobs" -I{} nice -n 10 sh "$folder/one.sh" {}

failed=0
printf '%-14s %12s %8s %8s %7s %8s  %s\n' target executions cov ft corpus bytes finding
for target in $targets; do
    log=$folder/$target.log
    last=$(grep -E ' cov: [0-9]+ ft: [0-9]+' "$log" | grep -v MERGE | tail -n 1)
    word() { echo "$last" | sed -n "s/.* $1: \([0-9]*\).*/\1/p"; }
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | head -n 1)
    finding=none
    if [ "$(cat "$folder/$target.code")" != 0 ]; then
        finding=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
        finding=${finding:-"see fuzz/$log"}
        failed=1
    fi
    printf '%-14s %12s %8s %8s %7s %8s  %s\n' "$target" "${executions:--}" "$(word cov)" \
        "$(word ft)" "$(ls "corpus/$target" | wc -l)" "$(du -sb "corpus/$target" | cut -f 1)" \
        "$finding"
done
exit $failed
