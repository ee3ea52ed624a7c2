#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# kvmattrd under a real systemd, on a real KVM, killed and restarted under load.
#
# Boots the kernel with memory attributes (tests/kernel) in QEMU, with this machine's systemd as the
# first process and the daemon and its unit as "make install" installs them; once with the
# executor in the VMM and once in the daemon.  In there, guest-check.sh does what there is to do,
# with load.c as VMM, guest and agents.  Here it is all put into one TAP stream.
set -u

usage() {
	cat <<-EOF
	Usage: $0 [--kernel BZIMAGE] [--logs DIR] [--only NAME] BUILD

	BUILD is the top of a build tree.
	  --kernel BZIMAGE  boot this one (default: \$KVMATTR_TEST_KERNEL, else scripts/build-kernel.sh
	                    builds one in BUILD/kernel)
	  --logs DIR        keep each machine's console, journal and TAP in DIR
	  --only NAME       boot this machine alone: vmm or daemon
	EOF
}

here=$(cd "$(dirname "$0")" && pwd)
kernel=${KVMATTR_TEST_KERNEL:-}
logs=
only=
build=
boot_timeout=900
units=/lib/systemd/system

while [ $# -gt 0 ]; do
	case $1 in
	--kernel) kernel=${2:?--kernel needs a file}; shift ;;
	--logs) logs=${2:?--logs needs a folder}; shift ;;
	--only) only=${2:?--only needs a machine}; shift ;;
	--help) usage; exit 0 ;;
	-*) usage >&2; exit 2 ;;
	*) build=$(realpath "$1") ;;
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
for program in /lib/systemd/systemd /lib/systemd/systemd-journald /usr/bin/systemctl; do
	[ -x $program ] || skip "there is no $program; apt-get install systemd"
done

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

work=$(mktemp -d "${TMPDIR:-/tmp}/check-systemd.XXXXXX") || bail_out "no temporary folder"
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

# ---- The machine's file system ------------------------------------------------------------------

image=$work/root/image

# Libraries that a program needs: this machine's go where they are here, ours to /usr/lib.
copy_libraries() {
	LD_LIBRARY_PATH=$build/client/.libs ldd "$1" >"$work/ldd" ||
		bail_out "$1 is no program of this machine"
	! grep 'not found' "$work/ldd" || bail_out "$1 lacks a library, see above"
	# "name => path (address)", and "path (address)" for the loader
	sed -n -e 's/^.*=> \(\/[^ ]*\) .*/\1/p' -e 's/^[[:space:]]*\(\/[^ ]*\) .*/\1/p' \
		"$work/ldd" | while read -r library; do
		case $library in
		"$build"/*) cp -L "$library" "$image/usr/lib/" ;;
		*) mkdir -p "$image${library%/*}" && cp -L "$library" "$image$library" ;;
		esac || exit 1
	done || bail_out "a library cannot be copied"
}

copy_program() {
	cp -L "$1" "$image$2" || bail_out "$1 cannot be copied: build it first"
	copy_libraries "$1"
}

make_skeleton() {
	local directory applet
	mkdir -p "$work"/root/{bin,new} "$image"/usr/{bin,lib/systemd/system,lib64,sbin} \
		"$image"/{dev,etc/systemd/system,proc,root,run,sys,tmp,var/lib}
	for directory in bin lib lib64 sbin; do
		ln -s usr/$directory "$image/$directory"
	done
	ln -s ../run "$image/var/run"
	echo "root:x:0:0:root:/root:/bin/sh" >"$image/etc/passwd"
	echo "root:x:0:" >"$image/etc/group"
	cp "$busybox" "$work/root/bin/"
	cp "$busybox" "$image/bin/"
	for applet in sh cat echo grep kill mkdir mount poweroff rm sed seq sleep sync timeout tr; do
		ln -s busybox "$image/bin/$applet"
	done
	install -m 755 "$here/guest-init.sh" "$work/root/init"
	install -m 755 "$here/guest-check.sh" "$image/bin/"
}

# Its programs, and the units that it cannot do without.
install_systemd() {
	local unit
	for unit in basic emergency final local-fs local-fs-pre multi-user paths rescue shutdown \
		slices sockets swap sysinit timers umount; do
		cp $units/$unit.target "$image$units/"
	done
	mkdir "$image$units"/{sysinit,sockets}.target.wants
	cp $units/systemd-journald{.service,.socket,-dev-log.socket} "$image$units/"
	ln -s ../systemd-journald.service "$image$units/sysinit.target.wants/"
	ln -s ../systemd-journald{,-dev-log}.socket "$image$units/sockets.target.wants/"
	copy_program /lib/systemd/systemd /lib/systemd/
	copy_program /lib/systemd/systemd-journald /lib/systemd/
	copy_program /usr/bin/systemctl /bin/
	copy_program /usr/bin/journalctl /bin/
}

install_ours() {
	local unit
	make -s -C "$build" DESTDIR="$image" install-sbinPROGRAMS install-systemdsystemunitDATA \
		>"$work/install.log" 2>&1 ||
		bail_out "make install: $(tail -n 3 "$work/install.log")"
	unit=$(cd "$image" && find . -name kvmattrd.service)
	copy_libraries "$(find "$image" -name kvmattrd -type f)"
	if [ -x "$build/tests/systemd/.libs/load" ]; then
		copy_program "$build/tests/systemd/.libs/load" /bin/
	else
		copy_program "$build/tests/systemd/load" /bin/
	fi
	cat >"$image/etc/systemd/system/check.service" <<-EOF
	[Unit]
	After=kvmattrd.service
	[Service]
	Type=oneshot
	ExecStart=/bin/guest-check.sh
	[Install]
	WantedBy=multi-user.target
	EOF
	# From wherever the prefix put it.
	systemctl --quiet --root="$image" enable "${unit#.}" check.service &&
		systemctl --quiet --root="$image" set-default multi-user.target ||
		bail_out "the units cannot be enabled"
}

make_initramfs() {
	make_skeleton
	install_systemd
	install_ours
	(cd "$work/root" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -1) \
		>"$work/initramfs.gz" || bail_out "the initramfs could not be packed"
}

# ---- Booting ------------------------------------------------------------------------------------

# A name, which is where the executor is, and kernel parameters.  The timer ticks periodically
# (nohz, highres): QEMU's emulation of SVM (7.2 at least) now and then loses the signal that an
# interrupt is pending, and a CPU that sleeps until a single timer would sleep for ever; the next
# tick brings it back.
boot() {
	local name=$1 parameters=$2 started=$SECONDS machine
	timeout --kill-after=5 "$boot_timeout" qemu-system-x86_64 \
		-accel tcg -cpu max,+svm -m 1024 -smp 2 -nodefaults -display none -no-reboot \
		-kernel "$kernel" -initrd "$work/initramfs.gz" \
		-append "console=ttyS0 panic=-1 quiet nohz=off highres=off kvm.attr_abi=deny $parameters KVMATTR_EXECUTOR=$name" \
		-serial "file:$work/$name.console" -serial "file:$work/$name.tap" \
		-serial "file:$work/$name.journal" </dev/null >"$work/$name.qemu" 2>&1 &
	machine=$!
	trap 'kill $machine 2>/dev/null; wait; exit 1' TERM INT
	wait $machine
	echo "$? $((SECONDS - started))" >"$work/$name.status"
}

n_lines=0
n_failed=0

# Reads a machine's TAP; results get numbers, everything else is a comment.  "# end N" says how
# many there are.  Nothing that did not come to its end counts as passed.
merge() {
	local name=$1 status seconds
	read -r status seconds <"$work/$name.status" 2>/dev/null || { status=none; seconds=0; }
	touch "$work/$name.tap"
	tr -d '\r\000' <"$work/$name.tap" | awk -v name="$name" -v first="$n_lines" \
		-v qemu_status="$status" -v seconds="$seconds" '
	function result(is_ok, text) {
		n++
		if (!is_ok)
			failed++
		print (is_ok ? "ok " : "not ok ") (first + n) " - executor in the " name ", " text
	}
	/^ok - / || /^not ok - / {
		results++
		is_ok = $1 == "ok"
		sub(/^(not )?ok - /, "")
		result(is_ok, $0)
		next
	}
	/^# end [0-9]+$/ { ended = $3 == results; next }
	/^Bail out!/ { result(0, $0); next }
	/^# / { print "# " name ": " substr($0, 3); next }
	/./ { print "# " name ": " $0 }
	END {
		result(ended && qemu_status == "0", "the machine " (ended ? "ended" : \
			"did not come to its end") ", QEMU with status " qemu_status ", after " \
			seconds " s")
		print n + 0, failed + 0 >"/dev/stderr"
	}' 2>"$work/counts"
	read -r n failed <"$work/counts"
	n_lines=$((n_lines + n))
	n_failed=$((n_failed + failed))
	if [ "$failed" != 0 ]; then
		tail -n 60 "$work/$name.console" "$work/$name.journal" "$work/$name.qemu" \
			2>/dev/null | tr -d '\r\000' | sed 's/^/# /'
	fi
}

make_initramfs
echo "# kernel: $kernel; $(/lib/systemd/systemd --version | head -n 1)"
names=()
for name in vmm daemon; do
	[ -z "$only" ] || [ "$only" = $name ] || continue
	names+=("$name")
	parameters=
	[ $name = vmm ] || parameters=kvm.attr_foreign=1
	boot $name "$parameters" &
done
wait
[ ${#names[@]} -gt 0 ] || bail_out "there is no machine $only"
for name in "${names[@]}"; do
	merge "$name"
done
echo "1..$n_lines"
echo "# $((n_lines - n_failed)) passed, $n_failed failed, in ${#names[@]} machines and $SECONDS s"
if [ -n "$logs" ]; then
	mkdir -p "$logs"
	cp "$work"/*.tap "$work"/*.console "$work"/*.journal "$logs/"
fi
[ "$n_failed" = 0 ]
