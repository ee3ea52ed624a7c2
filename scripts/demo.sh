#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Shows kvmattrd at work on a simulated VM: builds it, boots a guest's trace of VTL protections
# through it, and looks at what became of guest memory.
set -euo pipefail

usage() {
	cat <<-EOF
	Usage: $0 [--stay]

	Installs what is missing (Debian), builds in build/, starts a daemon of its own in a temporary
	folder and runs the boot trace: 300,000 protections, 4 agents, 64 GiB of guest memory.
	  --stay  keeps the daemon and the VM afterwards, to look around with kvmattrctl
	EOF
}

stay=
case ${1-} in
'') ;;
--stay) stay=yes ;;
--help) usage; exit 0 ;;
*) usage >&2; exit 2 ;;
esac

top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
scripts/install-packages.sh build

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || step() { printf '\n%s\n' "$*"; }

build() {
	[ -x configure ] || ./autogen.sh
	mkdir -p build
	cd build
	[ -f Makefile ] || ../configure --quiet
	make -s -j"$(nproc)"
}
step 'Building in build/ (the log: build/demo-build.log)'
mkdir -p build
(build) >build/demo-build.log 2>&1 || { tail -n 20 build/demo-build.log; exit 1; }

ctl=build/client/kvmattrctl
work=$(mktemp -d "${TMPDIR:-/tmp}/kvmattr-demo.XXXXXX")
export KVMATTR_RUNTIME_DIR=$work/run
daemon= vm=
end() {
	[ -z "$vm" ] || kill "$vm" 2>/dev/null || true
	[ -z "$vm" ] || wait "$vm" 2>/dev/null || true
	[ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
	[ -z "$daemon" ] || wait "$daemon" 2>/dev/null || true
	rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step 'Starting kvmattrd'
build/daemon/kvmattrd --foreground --runtime-dir "$work/run" --state-dir "$work/state" \
	--allow-simulated --log-level warning &
daemon=$!
for _ in $(seq 100); do
	$ctl ping >/dev/null 2>&1 && break
	kill -0 "$daemon" || exit 1
	sleep 0.1
done

step 'A guest of 64 GiB boots: 300,000 protections from 4 agents of VTL 1'
build/client/kvmattr-simvm --stay --ram 64G --agents 4 --pages 300000 --progress always \
	>"$work/trace.out" &
vm=$!
until tail -n 1 "$work/trace.out" | grep -q '^[0-9]* pages differ$'; do
	kill -0 "$vm" 2>/dev/null || { cat "$work/trace.out"; exit 1; }
	sleep 0.1
done

step 'What the daemon hosts'
$ctl vm list
step 'Guest memory, as VTL 0 may use it'
$ctl map show simvm
step 'One page explained'
$ctl explain simvm 0x40003000
step 'Numbers'
$ctl stats simvm
step 'The trace, as the simulated KVM saw it'
cat "$work/trace.out"
[ "$(tail -n 1 "$work/trace.out")" = '0 pages differ' ] || exit 1

if [ -n "$stay" ]; then
	step 'Look around; Ctrl-C ends it'
	cat <<-EOF
	export KVMATTR_RUNTIME_DIR=$work/run
	build/client/kvmattrctl map show simvm
	build/client/kvmattrctl explain simvm 0x40003000
	build/client/kvmattrctl --help
	EOF
	wait "$vm"
fi
