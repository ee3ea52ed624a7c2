#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The daemon and client/examples/vsm-vmm on this machine's own KVM, as TAP.
#
# Where the kernel has no memory attributes for a VM, its registration is refused and says what is
# missing; where it has some (KVM_X86_SW_PROTECTED_VM), a guest is asked, as in check-kernel.sh.
set -u

if [ $# != 1 ]; then
	echo "Usage: $0 BUILD, the top of a build tree" >&2
	exit 2
fi
build=$1

if [ ! -e /dev/kvm ]; then
	echo "1..0 # SKIP skipped: this machine has no /dev/kvm"
	exit 0
fi
for program in daemon/kvmattrd client/examples/vsm-vmm; do
	if [ ! -x "$build/$program" ]; then
		echo "Bail out! $build has no $program: build it first"
		exit 1
	fi
done

work=$(mktemp -d "${TMPDIR:-/tmp}/check-native.XXXXXX") || exit 1
daemon=
trap '[ -z "$daemon" ] || kill "$daemon" 2>/dev/null; wait; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
mkdir "$work/run" "$work/state"

"$build/daemon/kvmattrd" --foreground --runtime-dir "$work/run" --state-dir "$work/state" \
	>"$work/log" 2>&1 &
daemon=$!
for _ in $(seq 100); do
	[ -S "$work/run/agent.sock" ] && break
	kill -0 "$daemon" 2>/dev/null || break
	sleep 0.1
done

timeout --kill-after=5 120 "$build/client/examples/vsm-vmm" --socket "$work/run/agent.sock" \
	--control "$work/run/control.sock" --name native >"$work/tap"
status=$?
sed 's/ # SKIP / # SKIP skipped: /' "$work/tap"
if [ $status != 0 ]; then
	sed 's/^/# kvmattrd: /' "$work/log"
	grep -q -e '^Bail out!' -e '^not ok' "$work/tap" ||
		echo "Bail out! vsm-vmm ended with status $status, and said nothing of it"
fi
exit $status
