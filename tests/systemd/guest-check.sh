#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A service of the virtual machine that check-systemd.sh boots: does to kvmattrd what operators and
# accidents do, under load, and tells what came of it.
#
# TAP without numbers on the second serial port; the journal goes to the third, at the end.  Where
# the executor is comes from the kernel's parameters.
exec </dev/null >/dev/ttyS1 2>&1
executor=$(sed -n 's/.*KVMATTR_EXECUTOR=\([a-z]*\).*/\1/p' /proc/cmdline)
n=0

say() {
	n=$((n + 1))
	echo "$*"
}

# is TEXT VALUE EXPECTED
is() {
	if [ "$2" = "$3" ]; then
		say "ok - $1"
	else
		say "not ok - $1: it is '$2', expected '$3'"
	fi
}

property() {
	systemctl show -p "$1" --value kvmattrd
}

# Waits for a property to have that value; the last one it had is what counts.
becomes() {
	text=$1 name=$2 expected=$3 value=
	for _ in $(seq 100); do
		value=$(property "$name")
		[ "$value" = "$expected" ] && break
		sleep 0.1
	done
	is "$text" "$value" "$expected"
}

# under_load LABEL ROUNDS COMMAND...: what it says goes on, and its results are counted.
under_load() {
	label=$1 rounds=$2
	shift 2
	timeout 400 load --label "$label" --rounds "$rounds" --executor "$executor" "$@" >/run/load.tap
	status=$?
	while read -r line; do
		case $line in
		"ok "* | "not ok "*) say "$line" ;;
		"Bail out!"*) say "not ok - $line" ;;
		*) echo "$line" ;;
		esac
	done </run/load.tap
	is "$label: the load came to its end" $status 0
	becomes "$label: of the VM nothing is left in the store" NFileDescriptorStore "$base"
}

# How often recovery has found so many of the load's five sessions connected.
count_recovered() {
	timeout 60 journalctl --sync
	journalctl -u kvmattrd -o cat --no-pager |
		grep -c "recovered as of .*: 5 session(s), $1 of them still connected"
}

# under_load_with CONNECTED LABEL ROUNDS COMMAND...: and so many sessions are connected every time.
under_load_with() {
	connected=$1 label=$2 rounds=$3
	shift
	before=$(count_recovered "$connected")
	under_load "$@"
	is "$label: $connected connections of 5 came back each time" \
		$(($(count_recovered "$connected") - before)) "$rounds"
}

# Settings for the unit, from the next start on.
set_unit() {
	mkdir -p /run/systemd/system/kvmattrd.service.d
	{ echo "[Service]"; printf '%s\n' "$@"; } >/run/systemd/system/kvmattrd.service.d/check.conf
	systemctl daemon-reload
	systemctl stop kvmattrd
	systemctl start kvmattrd
}

# Works with the daemon's own sockets instead of those of units, or the other way round.
use_own_sockets() {
	systemctl mask --quiet --runtime kvmattrd-agent.socket kvmattrd-control.socket
	systemctl stop kvmattrd kvmattrd-agent.socket kvmattrd-control.socket
	base=2
}

use_socket_units() {
	systemctl stop kvmattrd
	systemctl unmask --quiet --runtime kvmattrd-agent.socket kvmattrd-control.socket
	systemctl start kvmattrd-agent.socket kvmattrd-control.socket
	base=0
}

# ---- The unit -----------------------------------------------------------------------------------

is "systemd is the first process" "$(cat /proc/1/comm)" systemd
is "the unit is active" "$(systemctl is-active kvmattrd)" active
systemctl status kvmattrd | sed 's/^/# /'
is "systemd-analyze finds nothing wrong with the units" \
	"$(systemd-analyze verify --man=no kvmattrd.service kvmattrd-agent.socket \
		kvmattrd-control.socket 2>&1)" ""
exposure=$(systemd-analyze security --no-pager kvmattrd.service |
	sed -n 's/.*Overall exposure level for kvmattrd.service: \([0-9.]*\).*/\1/p')
case $exposure in
0.[0-9] | 1.0) is "systemd-analyze security says at most 1.0: $exposure" yes yes ;;
*) is "systemd-analyze security says at most 1.0" "$exposure" "0.0 to 1.0" ;;
esac
pid=$(property MainPID)
is "the daemon is not root" "$(sed -n 's/^Uid:[[:space:]]*\([0-9]*\).*/\1/p' /proc/"$pid"/status |
	grep -vx 0 | sed 's/.*/yes/')" yes
is "it has no capabilities" "$(sed -n 's/^CapPrm:[[:space:]]*//p' /proc/"$pid"/status)" \
	0000000000000000
is "it cannot gain any" "$(sed -n 's/^NoNewPrivs:[[:space:]]*//p' /proc/"$pid"/status)" 1
is "its sockets are of the group" "$(ls -ln /run/kvmattrd | grep -c '^srw-rw----.*sock$')" 2
systemctl stop kvmattrd
is "the unit stops" "$(systemctl is-active kvmattrd)" inactive
is "its sockets stay, for the next client" "$(ls /run/kvmattrd | tr '\n' ' ')" \
	"agent.sock control.sock kvmattrd.lock "
is "the store is empty" "$(property NFileDescriptorStore)" 0
base=0
under_load "the first client starts it" 1 systemctl kill -s SIGKILL kvmattrd
is "the unit is active again" "$(systemctl is-active kvmattrd)" active
before=$(property MainPID)
systemctl reload kvmattrd
becomes "settings are read anew, by the same daemon" MainPID "$before"

# ---- Pauses -------------------------------------------------------------------------------------

before_rounds=$(property NRestarts)
under_load_with 5 SIGKILL 25 systemctl kill -s SIGKILL kvmattrd
is "systemd started it as often" $(($(property NRestarts) - before_rounds)) 25
forked=$(property ExecMainStartTimestampMonotonic)
echo "# SIGKILL: of the last pause, from the fork of the new daemon until it was ready:" \
	"$((($(property ActiveEnterTimestampMonotonic) - forked) / 1000)) ms"
under_load_with 5 restart 5 systemctl restart kvmattrd
under_load_with 0 "stop and start" 3 sh -c "systemctl stop kvmattrd && systemctl start kvmattrd"
binary=$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$(property FragmentPath)")
under_load_with 5 upgrade 2 \
	sh -c "cp $binary $binary.new && mv $binary.new $binary && systemctl restart kvmattrd"
set_unit WatchdogSec=2 TimeoutAbortSec=1
under_load_with 5 "a loop that hangs" 1 systemctl kill -s SIGSTOP kvmattrd
rm /run/systemd/system/kvmattrd.service.d/check.conf
systemctl daemon-reload

# ---- Ends ---------------------------------------------------------------------------------------

# Views and their statistics, executor, owner and four agents; in the daemon's case the executor has
# no socket.
full=$((base + 10))
[ "$executor" = vmm ] || full=$((base + 9))
load --executor "$executor" sleep 300 >/run/load.tap &
becomes "a VM that is busy is in the store" NFileDescriptorStore $full
kill -KILL $!
becomes "a VMM that is killed leaves nothing in the store" NFileDescriptorStore $base
load --executor "$executor" sleep 300 >/run/load.tap &
becomes "a VM that is busy is in the store again" NFileDescriptorStore $full
# No daemon sees the VMM end; the next one finds out.
kill -KILL "$(property MainPID)" $!
becomes "a VMM that is killed together with the daemon leaves nothing" NFileDescriptorStore $base

# ---- A store that is too small -------------------------------------------------------------------

set_unit FileDescriptorStoreMax=5
under_load "a store with room for a part of the VM" 5 systemctl kill -s SIGKILL kvmattrd
set_unit FileDescriptorStoreMax=0
under_load_with 0 "no store" 5 systemctl kill -s SIGKILL kvmattrd
set_unit FileDescriptorStoreMax=4096

# ---- Sockets of the daemon's own -------------------------------------------------------------------

use_own_sockets
systemctl start kvmattrd
becomes "own sockets: the listening ones are in the store" NFileDescriptorStore $base
under_load_with 5 "own sockets" 3 systemctl kill -s SIGKILL kvmattrd
systemctl stop kvmattrd
use_socket_units
under_load "socket units again" 1 systemctl kill -s SIGKILL kvmattrd

systemctl stop kvmattrd
is "the unit stops at the end" "$(systemctl is-active kvmattrd)" inactive
is "the store is empty at the end" "$(property NFileDescriptorStore)" 0
journalctl -b --no-pager -o short-monotonic >/dev/ttyS2
echo "# end $n"
sync
poweroff -f
