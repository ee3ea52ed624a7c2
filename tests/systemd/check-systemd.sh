#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# kvmattrd under a real systemd, on a real KVM, killed and restarted under load.
#
# Boots the kernel with memory attributes in QEMU (tests/kernel/machines.sh), with this machine's
# systemd as the first process and the daemon and its units as "make install" installs them.  In each
# machine one script does what there is to do, with load.c as VMM, guest and agents:
#
#	vmm, daemon   guest-disturbances.sh, named after where the executor is
#	tenants       guest-tenants.sh
#	authority     guest-authority.sh
#
# Here it is all put into one TAP stream.
set -u

usage() {
	cat <<-EOF
	Usage: $0 [--kernel BZIMAGE] [--jobs N] [--logs DIR] [--only NAME] BUILD

	BUILD is the top of a build tree.
	  --kernel BZIMAGE  boot this one (default: \$KVMATTR_TEST_KERNEL, else scripts/build-kernel.sh
	                    builds one in BUILD/kernel)
	  --jobs N          as many machines at once (default: one for each processor)
	  --logs DIR        keep each machine's console, journal and TAP in DIR
	  --only NAME       boot this machine alone: vmm, daemon, tenants or authority
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
	for applet in sh cat chmod cp echo grep id kill ls mkdir mount mv poweroff printf rm sed seq \
		sleep sort stat su sync tail timeout touch tr true uname uniq wc; do
		ln -s busybox "$image/bin/$applet"
	done
	install -m 755 "$here/guest-init.sh" "$work/root/init"
	install -m 755 "$here"/guest-{tap,disturbances,tenants,authority}.sh "$image/bin/"
}

# block PAGE WORDS: the example of the manual page in which that stands.
block() {
	awk -v words="$2" '
		!/^```/ { if (is_inside) text = text $0 "\n"; next }
		is_inside && index(text, words) { printf "%s", text; found = 1; exit }
		{ is_inside = !is_inside; text = "" }
		END { exit !found }' "$here/../../doc/$1.scd" ||
		bail_out "the page $1 has no example with $2"
}

# What the machines take from the manual and from the source.
make_examples() {
	local sbin
	sbin=$(cd "$image" && find . -name kvmattrd -type f)
	sbin=${sbin#.}
	mkdir "$image/etc/kvmattr-dropins"
	block kvmattrd.8 "enable --now kvmattrd-agent@acme" >"$image/bin/make-tenant.sh"
	block kvmattrd.8 "disable --now kvmattrd-agent@acme" >"$image/bin/remove-tenant.sh"
	block kvmattrd.8 "--config /etc/kvmattrd.conf" | sed "s|/usr/sbin/kvmattrd|$sbin|" \
		>"$image/etc/kvmattr-dropins/config.conf"
	block kvmattrd.8 "ProtectProc=default" >"$image/etc/kvmattr-dropins/units.conf"
	sed -n 's/.*X(\([A-Z_]*\), [A-Z]*, "\([0-9a-f]*\)").*/ID_\1=\2/p' \
		"$here/../../daemon/log-ids.h" >"$image/bin/message-ids.sh"
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
	copy_program /usr/bin/systemd-run /bin/
	copy_program /usr/bin/systemd-sysusers /bin/
	copy_program /usr/bin/journalctl /bin/
}

install_ours() {
	local unit program check
	make -s -C "$build" DESTDIR="$image" install-sbinPROGRAMS install-systemdsystemunitDATA \
		install-dist_sysusersDATA install-dist_catalogDATA >"$work/install.log" 2>&1 ||
		bail_out "make install: $(tail -n 3 "$work/install.log")"
	systemd-sysusers --root="$image" "$here/../../systemd/kvmattrd.conf" ||
		bail_out "the daemon's user cannot be made"
	unit=$(cd "$image" && find . -name kvmattrd.service)
	copy_libraries "$(find "$image" -name kvmattrd -type f)"
	for program in tests/systemd/load client/kvmattrctl; do
		program=$(find_program $program) ||
			bail_out "$build lacks tests/systemd/load or kvmattrctl: build them first"
		copy_program "$program" /bin/
	done
	for check in disturbances tenants authority; do
		cat >"$image/etc/systemd/system/check-$check.service" <<-EOF
		[Unit]
		After=kvmattrd.service
		ConditionKernelCommandLine=KVMATTR_CHECK=$check
		[Service]
		Type=oneshot
		ExecStart=/bin/guest-$check.sh
		[Install]
		WantedBy=multi-user.target
		EOF
	done
	# From wherever the prefix put it.
	systemctl --quiet --root="$image" enable "${unit#.}" check-disturbances.service \
		check-tenants.service check-authority.service &&
		systemctl --quiet --root="$image" set-default multi-user.target ||
		bail_out "the units cannot be enabled"
}

make_skeleton
install_systemd
install_ours
make_examples
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

# start_check NAME CHECK [PARAMETER...].  The timer ticks periodically (nohz, highres): QEMU's emulation
# of SVM (7.2 at least) now and then loses the signal that an interrupt is pending, and a CPU that
# sleeps until a single timer would sleep for ever; the next tick brings it back.
start_check() {
	local name=$1
	start "$name" 900 -m 1024 -serial "file:$work/$name.journal" -append \
		"console=ttyS0 panic=-1 quiet nohz=off highres=off kvm.attr_abi=deny KVMATTR_CHECK=${*:2}"
}

echo "# kernel: $kernel; $(/lib/systemd/systemd --version | head -n 1)"
start_check vmm disturbances KVMATTR_EXECUTOR=vmm
start_check daemon disturbances KVMATTR_EXECUTOR=daemon kvm.attr_foreign=1
start_check tenants tenants
start_check authority authority
await_machines
for name in "${names[@]}"; do
	merge "$name" "$rules"
done
finish tap console journal
