#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A service of the virtual machine "authority" of check-systemd.sh: who may register a VM by the unit
# that it runs in, as systemd puts processes into units.
#
# The VMMs all run as user vmm, who may open the socket.  Drop-ins for the daemon's unit are those of
# the page kvmattrd(8).
exec </dev/null >/dev/ttyS1 2>&1
. /bin/guest-tap.sh
. /bin/message-ids.sh

# start_unit NAME [SETTING...]: a VMM as that service.
start_unit() {
	name=$1
	shift
	{
		echo "[Service]"
		echo "ExecStart=/bin/load --vm $name sleep 300"
		echo "StandardOutput=truncate:/run/$name.tap"
		printf '%s\n' "$@"
	} >"/run/systemd/system/$name.service"
	systemctl daemon-reload
	systemctl start "$name"
	await_line "/run/$name.tap" "registered\|Bail out"
}

# start_scope NAME SLICE: a VMM in a scope, as sessions and machines have one.
start_scope() {
	systemd-run --quiet --scope --unit="$1" --slice="$2" --uid=vmm --gid=kvmattr \
		load --vm "$1" sleep 300 >"/run/$1.tap" 2>&1 &
	await_line "/run/$1.tap" "registered\|Bail out"
}

# may_register TEXT NAME, may_not TEXT NAME
may_register() {
	has "$1 may register" "/run/$2.tap" "^ok .*registered, calls are made in the vmm"
}

may_not() {
	has "$1 may not" "/run/$2.tap" \
		"Bail out.* may not do that (REGISTER is for VMMs, and UID .* is none; 'register' in"
}

# use_register WHO...: from the next start or reload on.
use_register() {
	printf '[authority]\nregister = %s\n' "$*" >/etc/kvmattrd.conf
}

use_dropin() {
	mkdir -p /etc/systemd/system/kvmattrd.service.d
	sed 's/^/# kvmattrd(8): /' "/etc/kvmattr-dropins/$1"
	cp "/etc/kvmattr-dropins/$1" /etc/systemd/system/kvmattrd.service.d/
	systemctl daemon-reload
	systemctl restart kvmattrd
}

# await_message NAME COUNT [MATCH...]: until the journal has so many with this id; they are then in
# /run/messages, as JSON.
await_message() {
	id=
	eval "id=\$ID_$1"
	count=$2
	shift 2
	for _ in $(seq 100); do
		timeout 60 journalctl --sync
		journalctl -u kvmattrd -o json --no-pager "MESSAGE_ID=$id" "$@" >/run/messages
		[ "$(grep -c . /run/messages)" -ge "$count" ] && break
		sleep 0.2
	done
}

chmod 666 /dev/kvm
systemd-sysusers --inline "u vmm -" "m vmm kvmattr"
echo "# Linux $(uname -r)"

# ---- The unit as it comes: /proc hides others -------------------------------------------------------

use_register unit:vmm.service unit:guests.slice
use_dropin config.conf
is "with settings that name units the daemon starts" "$(systemctl is-active kvmattrd)" active
logged >/run/lines
has "it warns that /proc hides who is in them, and says what to do" /run/lines \
	"'register' .* names units, but /proc shows .* Set ProtectProc=default .* see kvmattrd(8)"
start_unit vmm User=vmm
may_not "hidden by /proc, a VMM in the unit" vmm
has "its VMM is told why" /run/vmm.tap "its unit is not known: /proc hides it (ProtectProc="
logged >/run/lines
has "so is the log" /run/lines "denied: REGISTER, .* its unit is not known: /proc hides it (ProtectProc="
start_unit as-root
may_register "root, in whatever unit," as-root
systemctl stop as-root

# ---- As kvmattrd(8) says ------------------------------------------------------------------------------

use_dropin units.conf
check_unit kvmattrd.service
logged >/run/lines
is "with ProtectProc=default there is no warning any more" "$(grep -c 'names units, but' /run/lines)" 1
start_unit vmm User=vmm
may_register "a VMM in the unit" vmm
start_unit other User=vmm
may_not "the same user in another unit" other
is "whose unit is known" "$(grep -c 'its unit is not known' /run/other.tap)" 0
logged >/run/lines
has "that is in the log: what, who and which setting" /run/lines \
	"denied: REGISTER, to PID [0-9]*, UID $(id -u vmm), GID .*: 'register' in section \[authority\]"
start_scope session-c1 "user-$(id -u vmm).slice"
may_not "the same user's session" session-c1
start_scope guest-1 guests-kvm.slice
may_register "a scope in the slice, or in one below it," guest-1
start_unit nested User=vmm Slice=guests-other.slice
may_register "a service there" nested

# ---- Settings that change ---------------------------------------------------------------------------

pid=$(property MainPID)
use_register unit:other.service
systemctl reload kvmattrd
start_unit other User=vmm
may_register "after a reload, the unit that is named now" other
start_unit late User=vmm
may_not "one that is not" late
is "it is the same daemon" "$(property MainPID)" "$pid"
is "VMs of units that were named before are there" "$(vms_in /run/kvmattrd)" \
	"guest-1 nested other vmm "
systemctl kill -s SIGKILL kvmattrd
is "also when the daemon was killed" "$(vms_in /run/kvmattrd)" "guest-1 nested other vmm "
pid=$(property MainPID)
use_register unit:vmm.service "
	unit:other"
systemctl reload kvmattrd
await_message SETTINGS_REFUSED 1
is "settings that are wrong are not taken: the daemon stays" "$(property MainPID)" "$pid"
has "and says in which line" /run/messages "/etc/kvmattrd.conf:3.*'unit:other'\|settings stay"

# ---- The journal ------------------------------------------------------------------------------------

kvmattrctl --timeout 60 vm release nested >/run/out
await_message OPERATOR_ACTED 1
for field in KVMATTR_VM=nested KVMATTR_METHOD=vm.release KVMATTR_PEER_UID=0 _SYSTEMD_UNIT=kvmattrd.service; do
	has "journal: what an operator did has $field" /run/messages "\"${field%=*}\":\"${field#*=}\""
done
await_message VM_REGISTERED 1 KVMATTR_VM=vmm
for field in KVMATTR_VM=vmm KVMATTR_SESSION=. KVMATTR_PEER_PID=. "KVMATTR_PEER_UID=$(id -u vmm)"; do
	has "journal: a registration has $field" /run/messages "\"${field%=*}\":\"${field#*=}"
done
await_message ACCESS_DENIED 4
for field in KVMATTR_METHOD=REGISTER KVMATTR_STATUS=ACCESS_DENIED KVMATTR_SETTING=register \
	"KVMATTR_PEER_UID=$(id -u vmm)"; do
	has "journal: a denial has $field" /run/messages "\"${field%=*}\":\"${field#*=}\""
done
journalctl --update-catalog
journalctl -u kvmattrd -x --no-pager "MESSAGE_ID=$ID_ACCESS_DENIED" >/run/out
has "journalctl -x says what a denial means" /run/out "Subject: Somebody was denied REGISTER"
journalctl -u kvmattrd -x --no-pager "MESSAGE_ID=$ID_VM_REGISTERED" >/run/out
has "and what a registration is" /run/out "Subject: VM vmm was registered"
finish
