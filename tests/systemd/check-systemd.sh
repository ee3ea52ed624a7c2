#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# kvmattrd under a real systemd, on a real KVM, killed and restarted under load.
#
# Boots the kernel with memory attributes in QEMU (tests/kernel/machines.sh), with this machine's systemd as the
# first process and the daemon and its unit as "make install" installs them; once with the
# executor in the VMM and once in the daemon.  In there, guest-check.sh does what there is to do,
# with load.c as VMM, guest and agents.  Here it is all put into one TAP stream.
set -u

usage() {
	cat <<-EOF
	Usage: $0 [--kernel BZIMAGE] [--jobs N] [--logs DIR] [--only NAME] BUILD

	BUILD is the top of a build tree.
	  --kernel BZIMAGE  boot this one (default: \$KVMATTR_TEST_KERNEL, else scripts/build-kernel.sh
	                    builds one in BUILD/kernel)
	  --jobs N          as many machines at once (default: one for each processor)
	  --logs DIR        keep each machine's console, journal and TAP in DIR
	  --only NAME       boot this machine alone: vmm or daemon
	EOF
}

here=$(cd "$(dirname "$0")" && pwd)
. "$here/../kernel/machines.sh"
units=/lib/systemd/system

parse_options "$@"
for program in /lib/systemd/systemd /lib/systemd/systemd-journald /usr/bin/systemctl; do
	[ -x $program ] || skip "there is no $program; apt-get install systemd"
done
find_kernel
make_workplace check-systemd

# ---- The machine's file system ------------------------------------------------------------------

image=$work/root/image

# Libraries that a program needs: this machine's go where they are here, ours to /usr/lib.
copy_libraries() {
	local libraries library
	libraries=$(list_libraries "$1") ||
		bail_out "$1 lacks a library, or is none of this machine's"
	for library in $libraries; do
		case $library in
		"$build"/*) cp -L "$library" "$image/usr/lib/" ;;
		*) mkdir -p "$image${library%/*}" && cp -L "$library" "$image$library" ;;
		esac || bail_out "$library cannot be copied"
	done
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
	for applet in sh cat cp echo grep kill ls mkdir mount mv poweroff rm sed seq sleep sync timeout \
		tr; do
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
	copy_program /usr/bin/systemd-analyze /bin/
	copy_program /usr/bin/journalctl /bin/
}

install_ours() {
	local unit program
	make -s -C "$build" DESTDIR="$image" install-sbinPROGRAMS install-systemdsystemunitDATA \
		install-dist_sysusersDATA >"$work/install.log" 2>&1 ||
		bail_out "make install: $(tail -n 3 "$work/install.log")"
	systemd-sysusers --root="$image" "$here/../../systemd/kvmattrd.conf" ||
		bail_out "the daemon's user cannot be made"
	unit=$(cd "$image" && find . -name kvmattrd.service)
	copy_libraries "$(find "$image" -name kvmattrd -type f)"
	program=$(find_program tests/systemd/load) ||
		bail_out "$build has no tests/systemd/load: build it first"
	copy_program "$program" /bin/
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

make_skeleton
install_systemd
install_ours
pack_initramfs "$work/root"

# ---- The machines ---------------------------------------------------------------------------------

# "# end N" says how many results there are.
rules='
	/^ok - / || /^not ok - / {
		results++
		is_ok = $1 == "ok"
		sub(/^(not )?ok - /, "")
		result(is_ok, $0)
		next
	}
	/^# end [0-9]+$/ { ended = $3 == results; next }'

# Named after where the executor is.  The timer ticks periodically (nohz, highres): QEMU's emulation
# of SVM (7.2 at least) now and then loses the signal that an interrupt is pending, and a CPU that
# sleeps until a single timer would sleep for ever; the next tick brings it back.
echo "# kernel: $kernel; $(/lib/systemd/systemd --version | head -n 1)"
for name in vmm daemon; do
	parameters="nohz=off highres=off kvm.attr_abi=deny"
	[ $name = vmm ] || parameters+=" kvm.attr_foreign=1"
	start $name 900 -m 1024 -serial "file:$work/$name.journal" -append \
		"console=ttyS0 panic=-1 quiet $parameters KVMATTR_EXECUTOR=$name"
done
await_machines
for name in "${names[@]}"; do
	merge "$name" "$rules"
done
finish tap console journal
