#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A service of the virtual machines "vmm" and "daemon" of check-systemd.sh: does to kvmattrd what
# operators and accidents do, under load, and tells what came of it.
#
# At the end there is a table of it: for each event what became of the VM, of the five connections
# that its owner and agents have, and of the descriptors in systemd's store; and how long no update
# was answered.
exec </dev/null >/dev/ttyS1 2>&1
. /bin/guest-tap.sh
executor=$(sed -n 's/.*KVMATTR_EXECUTOR=\([a-z]*\).*/\1/p' /proc/cmdline)

# ---- The table ------------------------------------------------------------------------------------

# row EVENT VM CONNECTIONS STORE PAUSE
row() {
	printf '# | %-30s | %-21s | %-20s | %-18s | %-15s |\n' "$@" >>/run/table
}

row event VM "owner, 4 agents" "fd store" "pause, ms"
row "" "" "" "before, after, end" "median, max"

# ---- Load -----------------------------------------------------------------------------------------

# For each time that the load's VM was recovered, how many of its connections were still there: in
# $came_back, those since the last call.
n_recoveries=0
note_recoveries() {
	logged | sed -n 's/.*recovered as of .*: 5 session(s), \([0-9]*\) of them.*/\1/p' \
		>/run/recoveries
	came_back=$(tail -n +$((n_recoveries + 1)) /run/recoveries)
	n_recoveries=$(grep -c . /run/recoveries)
}

# Results are counted, what the load says goes on, and what the store held is kept in $store.
tell_load() {
	store=
	while read -r line; do
		case $line in
		"ok "* | "not ok "*) say "$line" ;;
		"Bail out!"*) say "not ok - $line" ;;
		"# store "*) store="$store${line#\# store }, " ;;
		*) echo "$line" ;;
		esac
	done </run/load.tap
}

# under_load LABEL ROUNDS HELD [OPTION...] COMMAND...: HELD is how many descriptors the store is to
# have as long as the VM is there.
under_load() {
	label=$1 rounds=$2 held=$3
	shift 3
	timeout 400 load --label "$label" --rounds "$rounds" --executor "$executor" --look \
		". /bin/guest-tap.sh; await NFileDescriptorStore $held; echo \"# store \$value\"" \
		"$@" >/run/load.tap
	status=$?
	tell_load
	is "$label: the load came to its end" $status 0
	is "$label: what the store holds before and after" "$store" "$held, $held, "
	becomes "$label: of the VM nothing is left in the store" NFileDescriptorStore "$base"
	pause=$(sed -n 's/.*longest time.* median \([0-9.]*\), max \([0-9.]*\).*/\1, \2/p' /run/load.tap)
}

# under_load_with CONNECTED LABEL ROUNDS HELD COMMAND...: so many connections of the five come back
# with the VM each time; "-": it is not known how many.
under_load_with() {
	connected=$1
	shift
	under_load "$@"
	note_recoveries
	times=$(echo "$came_back" | grep -c .)
	is "$label: the VM was recovered each time" "$times" "$rounds"
	case $connected in
	-) came_back="some kept, some anew" ;;
	*)
		is "$label: $connected connections of 5 came back with it each time" \
			"$(echo "$came_back" | grep -cx "$connected")" "$rounds"
		came_back="all 5 kept"
		[ "$connected" = 5 ] || came_back="all 5 made anew"
		;;
	esac
	row "$label" "recovered, $times of $rounds" "$came_back" "$store$value" "$pause"
}

# ---- Settings and sockets -------------------------------------------------------------------------

# Settings for the unit, from the next start on.
set_unit() {
	mkdir -p /run/systemd/system/kvmattrd.service.d
	{ echo "[Service]"; printf '%s\n' "$@"; } >/run/systemd/system/kvmattrd.service.d/check.conf
	systemctl daemon-reload
	systemctl stop kvmattrd
	systemctl start kvmattrd
}

# Descriptors in the store with no VM, and with the load's: views and their statistics, executor, owner
# and four agents.  An executor in the daemon has no socket.
count_from() {
	base=$1
	full=$((base + 10))
	[ "$executor" = vmm ] || full=$((base + 9))
}

# Works with the daemon's own sockets instead of those of units, or the other way round.
use_own_sockets() {
	systemctl mask --quiet --runtime kvmattrd-agent.socket kvmattrd-control.socket
	systemctl stop kvmattrd kvmattrd-agent.socket kvmattrd-control.socket
	count_from 2
}

use_socket_units() {
	systemctl stop kvmattrd
	systemctl unmask --quiet --runtime kvmattrd-agent.socket kvmattrd-control.socket
	systemctl start kvmattrd-agent.socket kvmattrd-control.socket
	count_from 0
}

# ---- The unit -----------------------------------------------------------------------------------

is "systemd is the first process" "$(cat /proc/1/comm)" systemd
is "the unit is active" "$(systemctl is-active kvmattrd)" active
systemctl status kvmattrd | sed 's/^/# /'
check_unit kvmattrd.service kvmattrd-agent.socket kvmattrd-control.socket
pid=$(property MainPID)
is "the daemon runs as a user of its own" "$(user_of "$pid")" kvmattr
check_process "$pid"
is "its sockets are of the group" "$(ls -ln /run/kvmattrd | grep -c '^srw-rw----.*sock$')" 2
systemctl stop kvmattrd
is "the unit stops" "$(systemctl is-active kvmattrd)" inactive
is "its sockets stay, for the next client" "$(ls /run/kvmattrd | tr '\n' ' ')" \
	"agent.sock control.sock kvmattrd.lock "
is "the store is empty" "$(property NFileDescriptorStore)" 0
count_from 0
under_load_with 5 "a first client, then SIGKILL" 1 "$full" systemctl kill -s SIGKILL kvmattrd
is "the unit is active again" "$(systemctl is-active kvmattrd)" active

# ---- What systemd is told -------------------------------------------------------------------------

# Each message that the daemon sends is in the journal, while systemd logs all that it does.
systemctl log-level debug
set_unit WatchdogSec=2 TimeoutAbortSec=1
systemctl reload kvmattrd
sleep 2
systemctl log-level info
logged >/run/told
for message in READY=1 "STATUS=0 VMs, 0 sessions" RELOADING=1 WATCHDOG=1 STOPPING=1 \
	"STATUS=Stopping; VMs stay"; do
	has "systemd is told $message" /run/told "notification message from PID .*($message\|, $message"
done
has "it calls that a reload" /run/told "Changed running -> reload"
has "which has an end" /run/told "Changed reload -> running"

# ---- Pauses -------------------------------------------------------------------------------------

under_load_with 5 "a loop that hangs" 1 "$full" systemctl kill -s SIGSTOP kvmattrd
logged >/run/told
has "a loop that hangs: it was the watchdog that ended it" /run/told "Watchdog timeout (limit 2s)"
rm /run/systemd/system/kvmattrd.service.d/check.conf
systemctl daemon-reload
systemctl restart kvmattrd

pid=$(property MainPID)
under_load reload 3 "$full" --daemon-stays systemctl reload kvmattrd
is "reload: it is the same process all the time" "$(property MainPID)" "$pid"
row reload stays "all 5 kept" "$store$value" "$pause"
before_rounds=$(property NRestarts)
under_load_with 5 SIGKILL 15 "$full" systemctl kill -s SIGKILL kvmattrd
is "systemd started it as often" $(($(property NRestarts) - before_rounds)) 15
forked=$(property ExecMainStartTimestampMonotonic)
echo "# SIGKILL: of the last pause, from the fork of the new daemon until it was ready:" \
	"$((($(property ActiveEnterTimestampMonotonic) - forked) / 1000)) ms"
under_load_with 5 restart 5 "$full" systemctl restart kvmattrd
under_load_with 0 "stop, and a client starts it" 2 "$full" systemctl stop kvmattrd
# The sockets first: otherwise systemd stops them last, and a client may start the service in between.
under_load_with 0 "stop, sockets too, and start" 2 "$full" sh -c "
	systemctl stop kvmattrd-agent.socket kvmattrd-control.socket && systemctl stop kvmattrd &&
	systemctl show -p NFileDescriptorStore --value kvmattrd >>/run/stopped &&
	systemctl start kvmattrd"
is "stop, sockets too, and start: meanwhile the store is empty" \
	"$(tr '\n' ' ' </run/stopped)" "0 0 "
row "  while it is stopped" "as KVM has it" "wait, try again" 0 -
binary=$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$(property FragmentPath)")
under_load_with 5 upgrade 2 "$full" \
	sh -c "cp $binary $binary.new && mv $binary.new $binary && systemctl restart kvmattrd"
is "upgrade: the new file is what runs" "$(stat -L -c %i "/proc/$(property MainPID)/exe")" \
	"$(stat -c %i "$binary")"

# ---- Ends ---------------------------------------------------------------------------------------

start_load() {
	load --executor "$executor" sleep 300 >/run/load.tap &
	becomes "a VM that is busy is in the store" NFileDescriptorStore "$full"
	becomes "and in the status line" StatusText "1 VMs, 5 sessions"
}

start_load
kill -KILL $!
becomes "a VMM that is killed leaves nothing in the store" NFileDescriptorStore "$base"
becomes "and no VM" StatusText "0 VMs, 0 sessions"
row "the VMM is killed" released "end with it" "$full, -, $base" -
start_load
# No daemon sees the VMM end; the next one finds out.
kill -KILL "$(property MainPID)" $!
becomes "a VMM that is killed together with the daemon leaves nothing" NFileDescriptorStore "$base"
becomes "and no VM is left of it" StatusText "0 VMs, 0 sessions"
row "VMM and daemon are killed" released "end with them" "$full, -, $base" -

note_recoveries

# ---- A store that is too small -------------------------------------------------------------------

set_unit FileDescriptorStoreMax=5
under_load_with - "SIGKILL, a store of 5" 3 5 systemctl kill -s SIGKILL kvmattrd
set_unit FileDescriptorStoreMax=0
under_load_with 0 "SIGKILL, no store" 3 0 systemctl kill -s SIGKILL kvmattrd
set_unit FileDescriptorStoreMax=4096

# ---- Sockets of the daemon's own -------------------------------------------------------------------

use_own_sockets
systemctl start kvmattrd
becomes "own sockets: the listening ones are in the store" NFileDescriptorStore "$base"
under_load_with 5 "SIGKILL, own sockets" 3 "$full" systemctl kill -s SIGKILL kvmattrd
systemctl stop kvmattrd
use_socket_units
under_load_with 5 "SIGKILL, socket units again" 1 "$full" systemctl kill -s SIGKILL kvmattrd

systemctl stop kvmattrd
is "the unit stops at the end" "$(systemctl is-active kvmattrd)" inactive
is "the store is empty at the end" "$(property NFileDescriptorStore)" 0
cat /run/table
finish
