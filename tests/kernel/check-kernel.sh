#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What a real guest may do, in every dialect of KVM's memory attributes.
#
# Boots the kernel with the attributes in QEMU (machines.sh), once for each dialect, for the executor
# in the VMM and in the daemon, and for v10 also with calls that do a part only.  In there,
# guest-init.sh runs the daemon and client/examples/vsm-vmm, which speaks TAP; here it is all put
# into one TAP stream.  What ends early, or without its plan, has failed.
set -u

usage() {
	cat <<-EOF
	Usage: $0 [--kernel BZIMAGE] [--jobs N] [--logs DIR] [--only NAME] BUILD

	BUILD is the top of a build tree.
	  --kernel BZIMAGE  boot this one (default: \$KVMATTR_TEST_KERNEL, else scripts/build-kernel.sh
	                    builds one in BUILD/kernel)
	  --jobs N          as many machines at once (default: one for each processor)
	  --logs DIR        keep each machine's console and TAP in DIR
	  --only NAME       boot this machine alone: v10-chunk, or deny-foreign, say
	EOF
}

here=$(cd "$(dirname "$0")" && pwd)
. "$here/machines.sh"
parse_options "$@"
find_kernel
make_workplace check-kernel

make_initramfs() {
	local root=$work/root applet path program libraries library
	mkdir -p "$root"/{bin,dev,lib,lib64,proc,run,sys,tmp}
	cp "$busybox" "$root/bin/busybox"
	for applet in sh mount mkdir cat stty sleep kill timeout sed tr echo sync poweroff; do
		ln -s busybox "$root/bin/$applet"
	done
	cp "$here/guest-init.sh" "$root/init"
	chmod 755 "$root/init"
	for path in daemon/kvmattrd client/examples/vsm-vmm; do
		program=$(find_program $path) || bail_out "$build has no $path: build it first"
		cp "$program" "$root/bin/"
		libraries=$(list_libraries "$program") ||
			bail_out "$program lacks a library, or is none of this machine's"
		for library in $libraries; do
			case $library in
			/lib64/*) cp -L "$library" "$root/lib64/" ;;
			*) cp -L "$library" "$root/lib/" ;;
			esac || bail_out "$library cannot be copied"
		done
	done
	pack_initramfs "$root"
}

# A machine: a name, kernel parameters, what its KVM speaks, the executors to try.
declare -A executors_of
start_with() {
	executors_of[$1]=$4
	start "$1" 600 -m 512 -append \
		"console=ttyS0 panic=-1 quiet $2 KVMATTR_ABI=$3 KVMATTR_EXECUTORS=$4"
}

# "# begin" and "# exit" stand around each run of the VMM.
rules='
	/^# begin / { run = $3; results = 0; plan = "none"; next }
	/^ok [0-9]+ - / || /^not ok [0-9]+ - / {
		results++
		is_ok = $1 == "ok"
		if ((is_ok ? $2 : $3) != results)
			result(0, run ": a line is lost before: " $0)
		sub(/^(not )?ok [0-9]+ - /, "")
		result(is_ok, $0)
		next
	}
	/^1\.\.[0-9]+$/ { plan = substr($0, 4); next }
	/^# exit / {
		runs++
		result($3 == 0 && plan == results && results > 0, run \
			": the VMM ended with status " $3 ", " results " results, plan " plan)
		next
	}
	/^# daemon / {
		daemon_ended = 1
		result($3 == "0", "the daemon ended with status " $3)
		next
	}
	/^# end$/ { ended = 1; next }
	END {
		if (runs != split(executors, unused, ","))
			result(0, runs + 0 " of the runs with " executors " came to an end")
		if (!daemon_ended)
			result(0, "no word of the end of the daemon")
	}'

make_initramfs
echo "# kernel: $kernel"
for abi in v10 v10na deny mainline; do
	start_with "$abi" "kvm.attr_abi=$abi" $abi thread,loop
	start_with "$abi-foreign" "kvm.attr_abi=$abi kvm.attr_foreign=1" $abi daemon
	case $abi in
	v10*)
		start_with "$abi-chunk" "kvm.attr_abi=$abi kvm.attr_chunk=3" $abi thread,loop
		start_with "$abi-chunk-foreign" \
			"kvm.attr_abi=$abi kvm.attr_chunk=3 kvm.attr_foreign=1" $abi daemon
		;;
	esac
done
await_machines
for name in "${names[@]}"; do
	merge "$name" "$rules" -v executors="${executors_of[$name]}"
done
finish tap console
