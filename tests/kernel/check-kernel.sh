#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What a real guest may do, in every dialect of KVM's memory attributes.
#
# Boots the kernel with the attributes (kvm-memory-attributes.patch) in QEMU, which emulates a
# processor with SVM, so that no hardware support is needed; once for each dialect, for the
# executor in the VMM and in the daemon, and for v10 also with calls that do a part only.  In
# there, guest-init.sh runs the daemon and client/examples/vsm-vmm, which speaks TAP; here it is
# all put into one TAP stream.  What ends early, or without its plan, has failed.
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
kernel=${KVMATTR_TEST_KERNEL:-}
jobs=$(nproc)
logs=
only=
build=
boot_timeout=600

while [ $# -gt 0 ]; do
	case $1 in
	--kernel) kernel=${2:?--kernel needs a file}; shift ;;
	--jobs) jobs=${2:?--jobs needs a number}; shift ;;
	--logs) logs=${2:?--logs needs a folder}; shift ;;
	--only) only=${2:?--only needs a machine}; shift ;;
	--help) usage; exit 0 ;;
	-*) usage >&2; exit 2 ;;
	*) build=$1 ;;
	esac
	shift
done
[ -n "$build" ] || { usage >&2; exit 2; }

skip() {
	echo "1..0 # SKIP skipped: $*"
	exit 0
}

bail_out() {
	echo "Bail out! $*"
	exit 1
}

# ---- What the machine has to have ---------------------------------------------------------------

command -v qemu-system-x86_64 >/dev/null ||
	skip "qemu-system-x86_64 is not installed; apt-get install qemu-system-x86"
command -v cpio >/dev/null || skip "cpio is not installed; apt-get install cpio"
busybox=$(command -v busybox) || skip "busybox is not installed; apt-get install busybox-static"
ldd "$busybox" >/dev/null 2>&1 &&
	skip "$busybox needs shared libraries; apt-get install busybox-static"

if [ -n "$kernel" ]; then
	[ -r "$kernel" ] || bail_out "the kernel $kernel cannot be read: correct" \
		"KVMATTR_TEST_KERNEL or --kernel, or leave it out to have one built"
else
	kernel=$("$here/../../scripts/build-kernel.sh" --build-dir "$build/kernel")
	case $? in
	0) ;;
	77) skip "no kernel with memory attributes, and none can be built here: see above," \
		"or set KVMATTR_TEST_KERNEL to a bzImage" ;;
	*) bail_out "the kernel was not built; the reason is above" ;;
	esac
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/check-kernel.XXXXXX") || bail_out "no temporary folder"
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

# ---- The machine's userland ---------------------------------------------------------------------

# The program itself: libtool leaves a script in its place where it needs the library built here.
find_program() {
	if [ -x "$build/$1/.libs/$2" ]; then
		echo "$build/$1/.libs/$2"
	elif [ -x "$build/$1/$2" ]; then
		echo "$build/$1/$2"
	else
		return 1
	fi
}

make_initramfs() {
	local root=$work/root path program applet
	mkdir -p "$root"/{bin,dev,lib,lib64,proc,run,sys,tmp}
	cp "$busybox" "$root/bin/busybox"
	for applet in sh mount mkdir cat stty sleep kill timeout sed tr echo sync poweroff; do
		ln -s busybox "$root/bin/$applet"
	done
	cp "$here/guest-init.sh" "$root/init"
	chmod 755 "$root/init"
	for path in daemon/kvmattrd client/examples/vsm-vmm; do
		program=$(find_program "${path%/*}" "${path##*/}") ||
			bail_out "$build has no $path: build it first"
		cp "$program" "$root/bin/"
		LD_LIBRARY_PATH=$build/client/.libs ldd "$program" >"$work/ldd" ||
			bail_out "$program is no program of this machine"
		! grep 'not found' "$work/ldd" || bail_out "$program lacks a library, see above"
		# "name => path (address)", and "path (address)" for the loader
		sed -n 's/^.*=> \(\/[^ ]*\) .*/\1/p' "$work/ldd" |
			xargs -r cp -L -t "$root/lib/" -- || bail_out "a library cannot be copied"
		cp -L "$(sed -n 's/^[[:space:]]*\(\/lib64\/[^ ]*\) .*/\1/p' "$work/ldd")" \
			"$root/lib64/"
	done
	(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -1) >"$work/initramfs.gz" ||
		bail_out "the initramfs could not be packed"
}

# ---- Booting ------------------------------------------------------------------------------------

# One configuration: a name, kernel parameters, the executors to try.
boot() {
	local name=$1 parameters=$2 abi=$3 executors=$4 started=$SECONDS machine
	timeout --kill-after=5 "$boot_timeout" qemu-system-x86_64 \
		-accel tcg -cpu max,+svm -m 512 -smp 2 -nodefaults -display none -no-reboot \
		-kernel "$kernel" -initrd "$work/initramfs.gz" \
		-append "console=ttyS0 panic=-1 quiet $parameters KVMATTR_ABI=$abi KVMATTR_EXECUTORS=$executors" \
		-serial "file:$work/$name.console" -serial "file:$work/$name.tap" \
		</dev/null >"$work/$name.qemu" 2>&1 &
	machine=$!
	trap 'kill $machine 2>/dev/null; wait; exit 1' TERM INT
	wait $machine
	echo "$? $((SECONDS - started))" >"$work/$name.status"
}

# ---- One TAP stream out of many -----------------------------------------------------------------

n_lines=0
n_failed=0

# Reads a machine's TAP; "ok" and "not ok" go on with our numbers, everything else as comments.
# Nothing that did not come to its end counts as passed.
merge() {
	local name=$1 executors=$2 status seconds
	read -r status seconds <"$work/$name.status" 2>/dev/null || { status=none; seconds=0; }
	touch "$work/$name.tap"
	tr -d '\r\000' <"$work/$name.tap" | awk -v name="$name" -v first="$n_lines" \
		-v executors="$executors" -v qemu_status="$status" -v seconds="$seconds" '
	function result(is_ok, text) {
		n++
		if (!is_ok)
			failed++
		print (is_ok ? "ok " : "not ok ") (first + n) " - " text
	}
	/^# begin / { run = $3; results = 0; plan = "none"; next }
	/^ok [0-9]+ - / || /^not ok [0-9]+ - / {
		results++
		is_ok = $1 == "ok"
		if ((is_ok ? $2 : $3) != results)
			result(0, name " " run ": a line is lost before: " $0)
		sub(/^(not )?ok [0-9]+ - /, "")
		result(is_ok, name ": " $0)
		next
	}
	/^1\.\.[0-9]+$/ { plan = substr($0, 4); next }
	/^# exit / {
		runs++
		result($3 == 0 && plan == results && results > 0, name " " run \
			": the VMM ended with status " $3 ", " results " results, plan " plan)
		next
	}
	/^# daemon / {
		daemon_ended = 1
		result($3 == "0", name ": the daemon ended with status " $3)
		next
	}
	/^# end$/ { ended = 1; next }
	/^Bail out!/ { result(0, name " " run ": " $0); next }
	/^# / { print; next }
	/./ { print "# " $0 }
	END {
		if (runs != split(executors, unused, ","))
			result(0, name ": " runs + 0 " of the runs with " executors " came to an end")
		if (!daemon_ended)
			result(0, name ": no word of the end of the daemon")
		result(ended && qemu_status == "0", name ": the machine " (ended ? "ended" : \
			"did not come to its end") ", QEMU with status " qemu_status ", after " \
			seconds " s")
		print n + 0, failed + 0 >"/dev/stderr"
	}' 2>"$work/counts"
	read -r n failed <"$work/counts"
	n_lines=$((n_lines + n))
	n_failed=$((n_failed + failed))
	if [ "$failed" != 0 ]; then
		tail -n 15 "$work/$name.console" "$work/$name.qemu" 2>/dev/null |
			tr -d '\r\000' | sed 's/^/# /'
	fi
}

names=()
declare -A executors_of

start() {
	local name=$1
	[ -z "$only" ] || [ "$only" = "$name" ] || return 0
	names+=("$name")
	executors_of[$name]=$4
	while [ "$(jobs -pr | wc -l)" -ge "$jobs" ]; do
		wait -n
	done
	boot "$@" &
}

make_initramfs
echo "# kernel: $kernel"
for abi in v10 v10na deny mainline; do
	start "$abi" "kvm.attr_abi=$abi" $abi thread,loop
	start "$abi-foreign" "kvm.attr_abi=$abi kvm.attr_foreign=1" $abi daemon
	case $abi in
	v10*)
		start "$abi-chunk" "kvm.attr_abi=$abi kvm.attr_chunk=3" $abi thread,loop
		start "$abi-chunk-foreign" \
			"kvm.attr_abi=$abi kvm.attr_chunk=3 kvm.attr_foreign=1" $abi daemon
		;;
	esac
done
wait
[ ${#names[@]} -gt 0 ] || bail_out "there is no machine $only"
for name in "${names[@]}"; do
	merge "$name" "${executors_of[$name]}"
done
echo "1..$n_lines"
echo "# $((n_lines - n_failed)) passed, $n_failed failed, in ${#names[@]} machines and $SECONDS s"
if [ -n "$logs" ]; then
	mkdir -p "$logs"
	cp "$work"/*.tap "$work"/*.console "$logs/"
fi
[ "$n_failed" = 0 ]
