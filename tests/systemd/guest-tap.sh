# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# For the services of the virtual machines that check-systemd.sh boots: results, what systemd says
# of a unit, and the end.
#
# TAP without numbers goes to the second serial port, the journal to the third, at the end.  The unit
# that is meant is in $unit.
unit=kvmattrd
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

# has TEXT FILE PATTERN: a line of the file matches it.
has() {
	if grep -q -- "$3" "$2"; then
		say "ok - $1"
	else
		say "not ok - $1: no line matches '$3'"
		sed 's/^/# | /' "$2"
	fi
}

property() {
	systemctl show -p "$1" --value "$unit"
}

# Waits for a property to have that value; the last one it had is in $value.
await() {
	value=
	for _ in $(seq 200); do
		value=$(property "$1")
		[ "$value" = "$2" ] && break
		sleep 0.1
	done
}

# becomes TEXT PROPERTY VALUE
becomes() {
	await "$2" "$3"
	is "$1" "$value" "$3"
}

# await_line FILE PATTERN: until there is such a line, or half a minute is over.
await_line() {
	for _ in $(seq 300); do
		grep -q -- "$2" "$1" 2>/dev/null && break
		sleep 0.1
	done
}

# What the unit has logged, the messages alone.
logged() {
	timeout 60 journalctl --sync
	journalctl -u "$unit" -o cat --no-pager
}

# vms_in DIRECTORY: the names of all VMs of the daemon that has its sockets there.
vms_in() {
	kvmattrctl --timeout 60 --runtime-dir "$1" --raw vm list | sed 's/"name":/\n&/g' |
		sed -n 's/^"name":"\([^"]*\)".*/\1/p' | sort | tr '\n' ' '
}

# Which user and group own it, and its mode.
owner_and_mode() {
	stat -c '%U:%G %a' "$1"
}

# user_of PID: by name.
user_of() {
	uid=$(sed -n 's/^Uid:[[:space:]]*\([0-9]*\).*/\1/p' "/proc/$1/status")
	sed -n "s/^\([^:]*\):[^:]*:$uid:.*/\1/p" /etc/passwd
}

# check_unit UNIT SOCKET...: how well it is shut in.
check_unit() {
	is "systemd-analyze verify is silent about $*" "$(systemd-analyze verify --man=no "$@" 2>&1)" ""
	exposure=$(systemd-analyze security --no-pager "$1" |
		sed -n 's/.*Overall exposure level for .*: \([0-9.]*\).*/\1/p')
	case $exposure in
	0.[0-9] | 1.0) is "systemd-analyze security says at most 1.0 of $1: $exposure" yes yes ;;
	*) is "systemd-analyze security says at most 1.0 of $1" "$exposure" "0.0 to 1.0" ;;
	esac
}

# check_process PID: what it could do.
check_process() {
	is "the daemon has no capabilities" \
		"$(sed -n 's/^CapPrm:[[:space:]]*//p' "/proc/$1/status")" 0000000000000000
	is "it cannot gain any" "$(sed -n 's/^NoNewPrivs:[[:space:]]*//p' "/proc/$1/status")" 1
	is "it has a filter of system calls" "$(sed -n 's/^Seccomp:[[:space:]]*//p' "/proc/$1/status")" 2
}

# The machine's last words.
finish() {
	journalctl -b --no-pager -o short-monotonic >/dev/ttyS2
	echo "# end $n"
	sync
	poweroff -f
}
