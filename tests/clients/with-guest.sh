#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Runs a client (a .py or .mjs file, which prints TAP) beside a daemon of its own that hosts two
# simulated VMs of 16 MiB with views of VTL 0 and 1: "demo", in which nothing is protected yet, and
# "spare", which two agents have booted.  The client finds the control socket in $KVMATTR_CONTROL,
# and npm's packages in $KVMATTR_NODE_MODULES.
#
# Runs in the top of a build directory.  What the machine lacks is said, and the client skipped.
set -u

client=$1
here=$(cd "$(dirname "$0")" && pwd) || exit 99
kvmattrd=${KVMATTRD-daemon/kvmattrd}
simvm=${KVMATTR_SIMVM-client/kvmattr-simvm}
# A client that hangs is a failure.
patience=300

skip() {
	echo "1..0 # SKIP $*"
	exit 0
}

fail() {
	echo "Bail out! $*"
	exit 99
}

# ---- npm's packages: in the build directory, as package-lock.json has them --------------------

npm_dir=tests/clients/npm

npm_is_done() {
	[ -e $npm_dir/installed ] && cmp -s "$here/package-lock.json" $npm_dir/package-lock.json
}

# A file by one of the names that npm gives to a network that is not there.
npm_has_no_network() {
	grep -q -E -e 'E(NOTFOUND|AI_AGAIN|CONN(REFUSED|RESET)|(NET|HOST)UNREACH|TIMEDOUT)' \
		-e 'EIDLETIMEOUT|ERR_SOCKET_TIMEOUT' "$1"
}

# Two clients may come here at once: one waits for the other.
npm_install() {
	for program in node npm; do
		command -v $program >/dev/null || skip "there is no $program here"
	done
	node -e 'process.exit(URL.canParse ? 0 : 1)' || skip "node $(node --version) is older than 18.17"
	mkdir -p tests/clients && exec 9>$npm_dir.lock && flock 9 || fail "cannot lock $npm_dir.lock"
	npm_is_done && return
	rm -rf $npm_dir && mkdir $npm_dir &&
		cp "$here/package.json" "$here/package-lock.json" $npm_dir || fail "cannot fill $npm_dir"
	if ! (cd $npm_dir && npm ci --ignore-scripts --no-audit --no-fund --prefer-offline \
		--fetch-retries=2 --fetch-retry-mintimeout=1000 --fetch-timeout=60000) \
		>$npm_dir.log 2>&1; then
		rm -rf $npm_dir
		npm_has_no_network $npm_dir.log && skip "npm's registry cannot be reached from here"
		sed 's/^/# /' $npm_dir.log
		fail "npm ci failed"
	fi
	touch $npm_dir/installed
}

case $client in
*.mjs)
	npm_install
	exec 9>&-
	KVMATTR_NODE_MODULES=$(cd $npm_dir && pwd)/node_modules/
	export KVMATTR_NODE_MODULES
	set -- node --test-reporter=tap "$client"
	;;
*.py)
	# Debian's packages are for Debian's Python, whatever else is first in the path.
	python=/usr/bin/python3
	[ -x $python ] || python=$(command -v python3) || skip "there is no python3 here"
	PYTHONDONTWRITEBYTECODE=1
	export PYTHONDONTWRITEBYTECODE
	set -- "$python" "$client"
	;;
*)
	fail "$client: not .py or .mjs"
	;;
esac

# ---- The daemon and its VMs --------------------------------------------------------------------

work=$(mktemp -d /tmp/kvmattr-clients.XXXXXX) || exit 99
pids=
end() {
	for pid in $pids; do
		kill "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Waits for something that a process brings about, as long as that is there.
await() { # PID WHAT COMMAND...
	pid=$1 what=$2
	shift 2
	for _ in $(seq 600); do
		"$@" && return
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
	sed 's/^/# /' "$work"/*.log
	fail "$what"
}

"$kvmattrd" --foreground --runtime-dir "$work/run" --state-dir "$work/state" --allow-simulated \
	>"$work/kvmattrd.log" 2>&1 &
pids=$!
await $! 'the daemon does not serve' [ -S "$work/run/control.sock" ]

is_registered() {
	tail -n 1 "$work/$1.log" 2>/dev/null | grep -q '^0 pages differ'
}
start_vm() { # NAME OPTION...
	vm=$1
	shift
	"$simvm" --runtime-dir "$work/run" --name "$vm" --ram 16M --stay --quiet "$@" \
		>"$work/$vm.log" 2>&1 &
	pids="$! $pids"
	await $! "VM $vm is not registered" is_registered "$vm"
}
start_vm demo --trace none
start_vm spare --agents 2 --pages 1000

KVMATTR_CONTROL=$work/run/control.sock
export KVMATTR_CONTROL
timeout $patience "$@"
status=$?
if [ $status -ne 0 ]; then
	sed 's/^/# /' "$work"/*.log
	[ $status -ne 124 ] || echo "Bail out! no end after $patience s"
fi
exit $status
