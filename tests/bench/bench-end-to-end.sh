#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The boot trace from four agents' sockets through the daemon to a simulated VM's executor and back:
# 300,000 protections, 64 GiB.  The peer is what the same run counts: the calls that merging only
# the consecutive pages of each list would have needed.
#
# Usage: bench-end-to-end.sh KVMATTRD KVMATTR-SIMVM
set -eu
daemon=$1 simvm=$2 runs=11

work=$(mktemp -d "${TMPDIR:-/tmp}/kvmattr-bench.XXXXXX")
pid=
trap '[ -z "$pid" ] || kill "$pid"; wait; rm -rf "$work"' EXIT
"$daemon" --foreground --runtime-dir "$work/run" --state-dir "$work/state" --allow-simulated \
	--log-level warning &
pid=$!
for _ in $(seq 100); do
	[ ! -S "$work/run/agent.sock" ] || break
	sleep 0.05
done

for i in $(seq $runs); do
	"$simvm" --runtime-dir "$work/run" --progress never >"$work/report.$i"
done
# median FIELD: of the runs' first number behind that name.
median() {
	sed -n "s/^$1  *\([0-9][0-9.]*\).*/\1/p" "$work"/report.* | sort -n | sed -n $(((runs + 1) / 2))p
}
rate=$(median 'Pages a second') calls=$(median 'KVM calls') unmerged=$(median 'Calls, list by list')
fewest=$(median 'Calls, at the fewest')
echo "boot trace, sockets to executor and back, 300,000 protections, 4 agents, 64 GiB, median of $runs"
awk -v rate="$rate" -v calls="$calls" -v unmerged="$unmerged" -v fewest="$fewest" 'BEGIN {
	printf "  %8.2f million pages/s\n", rate / 1e6
	printf "  %8d calls, %d when merging only the pages of each list (peer): ratio %.2f\n",
		calls, unmerged, calls / unmerged
	printf "  %8d calls at the fewest, all in one batch: ratio %.2f\n", fewest, fewest / unmerged
}'
