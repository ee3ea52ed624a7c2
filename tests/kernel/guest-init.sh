#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# PID 1 of the virtual machine that check-kernel.sh boots: the daemon, then the VMM once for each
# executor, everything told on the second serial port, where the kernel never writes.
#
# The kernel hands over the parameters that it does not know as our environment: KVMATTR_ABI, the
# dialect that it was told to speak; KVMATTR_EXECUTORS, "thread,loop" or "daemon".
PATH=/bin
export PATH LD_LIBRARY_PATH=/lib
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mkdir -p /run/kvmattrd /run/state
stty -F /dev/ttyS1 raw -echo
exec </dev/null >/dev/ttyS1 2>&1
for parameter in abi chunk foreign; do
	echo "# kvm.attr_$parameter: $(cat /sys/module/kvm/parameters/attr_$parameter)"
done

kvmattrd --foreground --runtime-dir /run/kvmattrd --state-dir /run/state >/run/kvmattrd.log 2>&1 &
daemon=$!
tenths=0
while [ ! -S /run/kvmattrd/agent.sock ] && [ $tenths -lt 100 ] && kill -0 $daemon 2>/dev/null; do
	sleep 0.1
	tenths=$((tenths + 1))
done

for executor in $(echo "$KVMATTR_EXECUTORS" | tr , ' '); do
	echo "# begin $executor"
	place=vmm
	how=$executor
	[ "$executor" = daemon ] && place=daemon && how=thread
	timeout 200 vsm-vmm --socket /run/kvmattrd/agent.sock --name vsm-vmm \
		--control /run/kvmattrd/control.sock \
		--executor "$how" --expect-abi "$KVMATTR_ABI" --expect-executor $place
	echo "# exit $?"
done

if kill -0 $daemon 2>/dev/null; then
	kill -TERM $daemon
	wait $daemon
	echo "# daemon $?"
else
	echo "# daemon gone"
fi
sed 's/^/# kvmattrd: /' /run/kvmattrd.log
echo "# end"
sync
poweroff -f
