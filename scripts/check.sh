#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Everything that has to hold before a change lands: builds with gcc and clang, all tests, the
# same tests under valgrind and the sanitizers, real guests in QEMU, the distribution, packages,
# the demo.
#
# Usage: scripts/check.sh [STEP ...]
# Without steps, all of them.  Works in build/check/; ends with "N passed, N failed, N skipped",
# and with 0 if none failed.
set -uo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit 1
work=$top/build/check
jobs=$(nproc)
passed=0 failed=0 skipped=0
summary=()

# count NAME PASSED FAILED SKIPPED
count() {
	passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + $4))
	summary+=("$(printf '%-14s %6d passed %4d failed %4d skipped  %4d s' "$1" "$2" "$3" "$4" \
		$((SECONDS - started)))")
	echo "${summary[-1]}"
}

# A step that passes or fails as a whole; its log is shown if it fails.
whole() {
	local name=$1 log=$work/$1.log
	shift
	started=$SECONDS
	if "$@" >"$log" 2>&1; then
		count "$name" 1 0 0
	else
		tail -n 40 "$log"
		count "$name" 0 1 0
	fi
}

# A step that runs automake's tests: they are counted one by one, from its *.trs files.
tests() {
	local name=$1 folder=$2 log=$work/$1.log status results
	shift 2
	started=$SECONDS
	find "$folder" -name '*.trs' -delete 2>/dev/null
	"$@" >"$log" 2>&1
	status=$?
	results=$(find "$folder" -name '*.trs' -exec cat {} + 2>/dev/null)
	local n_passed n_failed n_skipped
	n_passed=$(grep -cE '^:test-result: (PASS|XFAIL)' <<<"$results")
	n_failed=$(grep -cE '^:test-result: (FAIL|XPASS|ERROR)' <<<"$results")
	n_skipped=$(grep -cE '^:test-result: SKIP' <<<"$results")
	if [ "$status" != 0 ] || [ "$n_passed" = 0 ]; then
		[ "$n_failed" != 0 ] || n_failed=1
		grep -aE '^(not ok|FAIL|ERROR|# )' "$log" | head -n 40
		find "$folder" -name '*.log' -path '*tests*' -exec grep -alE '^(not ok|ERROR)' {} + 2>/dev/null |
			head -n 5 | xargs -r tail -n 30
		tail -n 20 "$log"
	fi
	grep -E '^:test-result: SKIP' <<<"$results" | sed 's/^:test-result: SKIP/skipped:/'
	count "$name" "$n_passed" "$n_failed" "$n_skipped"
}

# A step that prints TAP.
tap() {
	local name=$1 log=$work/$1.log status
	shift
	started=$SECONDS
	"$@" >"$log" 2>&1
	status=$?
	local n_failed n_skipped n_passed
	n_failed=$(grep -cE '^not ok' "$log")
	n_skipped=$(grep -cE '^ok .*# SKIP|^1\.\.0 # SKIP' "$log")
	n_passed=$(($(grep -cE '^ok' "$log") - $(grep -cE '^ok .*# SKIP' "$log")))
	if [ "$status" != 0 ] || [ "$n_failed" != 0 ]; then
		[ "$n_failed" != 0 ] || n_failed=1
		grep -E '^(not ok|Bail out)' "$log" | head -n 20
		tail -n 20 "$log"
	fi
	grep -oE '# SKIP.*' "$log" | sed 's/^# SKIP/skipped:/'
	count "$name" "$n_passed" "$n_failed" "$n_skipped"
}

build() (
	mkdir -p "$work/$1" && cd "$work/$1" &&
		"$top/configure" --quiet --enable-werror CC="$1" && make -s -j"$jobs" &&
		make -s -j"$jobs" check TESTS=
)

demo() {
	local lines
	lines=$(timeout 600 scripts/demo.sh) || return 1
	printf '%s\n' "$lines"
	[ "$(tail -n 1 <<<"$lines")" = '0 pages differ' ]
}

step_gcc() { whole gcc build gcc; }
step_clang() { whole clang build clang; }
step_format() { whole format make -s -C "$work/gcc" format-check; }
step_tests() { tests tests "$work/gcc" make -C "$work/gcc" -j"$jobs" check; }
step_kernel() { tap kernel make -s -C "$work/gcc" check-kernel; }
step_crash() { tap crash make -s -C "$work/gcc" check-crash; }
step_systemd() { tap systemd make -s -C "$work/gcc" check-systemd; }
step_native() { tap native make -s -C "$work/gcc" check-native; }
step_sanitizers() {
	tests sanitizers "$work/gcc/sanitizers" make -C "$work/gcc" -j"$jobs" check-sanitizers
}
step_valgrind() { tests valgrind "$work/gcc" make -C "$work/gcc" -j"$jobs" check-valgrind; }
step_distcheck() { whole distcheck make -s -C "$work/gcc" -j"$jobs" distcheck; }
step_package() { tap package tests/package/check-package.sh "$work/gcc"; }
step_demo() { whole demo demo; }

all='gcc clang format tests crash kernel systemd native sanitizers valgrind distcheck package demo'
for step in "$@"; do
	[[ " $all " == *" $step "* ]] || { echo "$0: no step '$step': $all" >&2; exit 2; }
done

scripts/install-packages.sh build test || exit 1
mkdir -p "$work"
./autogen.sh >"$work/autogen.log" 2>&1 || { tail "$work/autogen.log"; exit 1; }
for step in ${*:-$all}; do
	echo "== $step"
	"step_$step"
done

echo
printf '%s\n' "${summary[@]}"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
