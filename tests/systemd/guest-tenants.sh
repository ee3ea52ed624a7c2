#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A service of the virtual machine "tenants" of check-systemd.sh: a daemon for a tenant beside the
# host's, as the page kvmattrd(8) says to make one.
#
# The tenant is acme, whose VMMs run as user alice; VMMs of the host run as user bob.
exec </dev/null >/dev/ttyS1 2>&1
. /bin/guest-tap.sh
tenant=kvmattrd@acme.service
tenant_sockets="kvmattrd-agent@acme.socket kvmattrd-control@acme.socket"

# As each of them: a VM that is busy until its VMM is stopped, or other programs.
start_vmm() {
	cat >"/run/systemd/system/vmm-$1.service" <<-EOF
	[Service]
	User=$1
	ExecStart=/bin/load --socket $2/agent.sock --vm $1s-vm sleep 300
	StandardOutput=file:/run/vmm-$1.tap
	EOF
	systemctl daemon-reload
	systemctl start "vmm-$1"
	await_line "/run/vmm-$1.tap" "registered\|Bail out"
	has "$1's VMM registers a VM in $2" "/run/vmm-$1.tap" "^ok .*registered, calls are made in the vmm"
}

as() {
	user=$1
	shift
	su -s /bin/sh "$user" -c "$*" 2>&1
}

chmod 666 /dev/kvm
systemd-sysusers --inline "u alice -" "u bob -" "m bob kvmattr"

# ---- Made as the page says ------------------------------------------------------------------------

sed 's/^/# kvmattrd(8): /' /bin/make-tenant.sh
is "the steps of kvmattrd(8) make a tenant" \
	"$(sh -e /bin/make-tenant.sh 2>&1 | grep -v '^Created symlink\|^Creating')" ""
is "its sockets belong to its user and group" \
	"$(for socket in agent control; do owner_and_mode /run/kvmattrd-acme/$socket.sock; done |
		uniq)" "kvmattr-acme:kvmattr-acme 660"
is "its daemon is not there yet" "$(systemctl is-active $tenant)" inactive
start_vmm alice /run/kvmattrd-acme
is "the first client has started it" "$(systemctl is-active $tenant)" active
start_vmm bob /run/kvmattrd
check_unit $tenant $tenant_sockets

unit=$tenant
pid=$(property MainPID)
is "it runs as its own user" "$(user_of "$pid")" kvmattr-acme
check_process "$pid"
is "the host's daemon is another one" "$(user_of "$(unit=kvmattrd; property MainPID)")" kvmattr
for directory in /run /var/lib; do
	is "the tenant's directory in $directory is its own" \
		"$(owner_and_mode $directory/kvmattrd-acme | sed 's/ .*//')" kvmattr-acme:kvmattr-acme
done
is "its journals are closed to others" "$(owner_and_mode /var/lib/kvmattrd-acme)" \
	"kvmattr-acme:kvmattr-acme 700"
is "the VM's journal is there" "$(ls /var/lib/kvmattrd-acme/vms | sed 's/\..*//')" alices-vm
becomes "and its descriptors are in its own store" NFileDescriptorStore 10

# ---- Apart ----------------------------------------------------------------------------------------

is "the tenant's daemon knows the tenant's VM alone" "$(vms_in /run/kvmattrd-acme)" "alices-vm "
is "the host's daemon knows the host's alone" "$(vms_in /run/kvmattrd)" "bobs-vm "
as alice "load --socket /run/kvmattrd/agent.sock true" >/run/out
has "the tenant's user cannot open the host's agent socket" /run/out "the daemon: Permission denied"
as alice "kvmattrctl status" >/run/out
has "nor its control socket" /run/out "control.sock may not be opened by this user"
as bob "load --socket /run/kvmattrd-acme/agent.sock true" >/run/out
has "the host's user cannot open the tenant's agent socket" /run/out "the daemon: Permission denied"
as bob "kvmattrctl --runtime-dir /run/kvmattrd-acme status" >/run/out
has "nor its control socket, there" /run/out "control.sock may not be opened by this user"
as kvmattr-acme "ls /var/lib/kvmattrd" >/run/out
has "the tenant's daemon could not read the host's journals" /run/out "Permission denied"
as alice "kvmattrctl --runtime-dir /run/kvmattrd-acme status" >/run/out
has "the tenant's user looks into its own daemon" /run/out alices-vm

# ---- One ends, the other goes on ----------------------------------------------------------------------

# while_steady SOCKET LABEL: everyone at that daemon goes on undisturbed until go_on() is called.
while_steady() {
	rm -f /run/enough
	timeout 300 load --socket "$1" --vm steady --label "$2" --daemon-stays \
		sh -c "until [ -e /run/enough ]; do sleep 0.2; done" >/run/steady.tap &
	steady=$!
	await_line /run/steady.tap registered
}

tell() {
	while read -r line; do
		case $line in
		"ok "* | "not ok "*) say "$line" ;;
		"Bail out!"*) say "not ok - $line" ;;
		*) echo "$line" ;;
		esac
	done <"$1"
}

# beside SOCKET UNIT OTHER_SOCKET: that unit is killed, and nobody at the other socket notices.
beside() {
	while_steady "$3" "beside $2"
	timeout 300 load --socket "$1" --vm shaken --label "$2 is killed" --rounds 3 \
		systemctl kill -s SIGKILL "$2" >/run/shaken.tap
	is "$2 is killed: the load came to its end" $? 0
	touch /run/enough
	wait $steady
	is "beside $2: the load came to its end" $? 0
	tell /run/shaken.tap
	tell /run/steady.tap
}

host_pid=$(unit=kvmattrd; property MainPID)
beside /run/kvmattrd-acme/agent.sock $tenant /run/kvmattrd/agent.sock
is "the host's daemon is the same" "$(unit=kvmattrd; property MainPID)" "$host_pid"
tenant_pid=$(property MainPID)
beside /run/kvmattrd/agent.sock kvmattrd.service /run/kvmattrd-acme/agent.sock
is "the tenant's daemon is the same" "$(property MainPID)" "$tenant_pid"
is "both VMs of before are still there" "$(vms_in /run/kvmattrd-acme)$(vms_in /run/kvmattrd)" \
	"alices-vm bobs-vm "

# ---- Taken away -----------------------------------------------------------------------------------

sed 's/^/# kvmattrd(8): /' /bin/remove-tenant.sh
is "the steps of kvmattrd(8) take the tenant away" \
	"$(sh -e /bin/remove-tenant.sh 2>&1 | grep -v '^Removed')" ""
is "its daemon has stopped" "$(systemctl is-active $tenant)" inactive
is "nothing is in its store" "$(property NFileDescriptorStore)" 0
is "its sockets are gone" "$(ls /run/kvmattrd-acme | grep -c sock)" 0
is "nothing of it is enabled" "$(systemctl is-enabled $tenant $tenant_sockets | uniq)" disabled
is "the host's VM is untouched" "$(vms_in /run/kvmattrd)" "bobs-vm "
systemctl enable --quiet $tenant
is "enabling the service enables its sockets" \
	"$(systemctl is-enabled $tenant $tenant_sockets | uniq)" enabled
systemctl disable --quiet $tenant
is "disabling it disables them" "$(systemctl is-enabled $tenant $tenant_sockets | uniq)" disabled
finish
