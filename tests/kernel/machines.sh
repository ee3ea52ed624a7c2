# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# Machines in QEMU on the kernel that has the attributes (kvm-memory-attributes.patch): options, what
# this machine has to have for it, programs with their libraries, booting, and one TAP stream out of
# many.  QEMU emulates a processor with SVM, so that no hardware support is needed.
#
# For bash scripts, which source it and have a function usage; in the order of a run:
#
#	parse_options "$@"       sets kernel, jobs, logs, only, build
#	find_kernel              skips what cannot run here, or sets kernel
#	make_workplace NAME      sets work, a folder that is removed in the end
#	pack_initramfs ROOT      from the files there
#	start NAME TIMEOUT OPTION...
#	await_machines
#	merge NAME RULES...
#	finish KIND...

skip() {
	echo "1..0 # SKIP skipped: $*"
	exit 0
}

bail_out() {
	echo "Bail out! $*"
	exit 1
}

# ---- Before ----------------------------------------------------------------------------------------

parse_options() {
	kernel=${KVMATTR_TEST_KERNEL:-}
	jobs=$(nproc)
	logs=
	only=
	build=
	while [ $# -gt 0 ]; do
		case $1 in
		--kernel) kernel=${2:?--kernel needs a file}; shift ;;
		--jobs) jobs=${2:?--jobs needs a number}; shift ;;
		--logs) logs=${2:?--logs needs a folder}; shift ;;
		--only) only=${2:?--only needs a machine}; shift ;;
		--help) usage; exit 0 ;;
		-*) usage >&2; exit 2 ;;
		*) build=$(realpath "$1") ;;
		esac
		shift
	done
	[ -n "$build" ] || { usage >&2; exit 2; }
}

# Also sets busybox.
find_kernel() {
	command -v qemu-system-x86_64 >/dev/null ||
		skip "qemu-system-x86_64 is not installed; apt-get install qemu-system-x86"
	command -v cpio >/dev/null || skip "cpio is not installed; apt-get install cpio"
	busybox=$(command -v busybox) ||
		skip "busybox is not installed; apt-get install busybox-static"
	ldd "$busybox" >/dev/null 2>&1 &&
		skip "$busybox needs shared libraries; apt-get install busybox-static"
	if [ -n "$kernel" ]; then
		[ -r "$kernel" ] || bail_out "the kernel $kernel cannot be read: correct" \
			"KVMATTR_TEST_KERNEL or --kernel, or leave it out to have one built"
		return
	fi
	kernel=$("$(dirname "${BASH_SOURCE[0]}")/../../scripts/build-kernel.sh" \
		--build-dir "$build/kernel")
	case $? in
	0) ;;
	77) skip "no kernel with memory attributes, and none can be built here: see above," \
		"or set KVMATTR_TEST_KERNEL to a bzImage" ;;
	*) bail_out "the kernel was not built; the reason is above" ;;
	esac
}

make_workplace() {
	work=$(mktemp -d "${TMPDIR:-/tmp}/$1.XXXXXX") || bail_out "no temporary folder"
	trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$work"' EXIT
	trap 'exit 1' INT TERM HUP
}

# ---- What is in a machine --------------------------------------------------------------------------

# The program itself: libtool leaves a script in its place where it needs the library built here.
find_program() {
	local directory=$build/${1%/*} name=${1##*/} path
	for path in "$directory/.libs/$name" "$directory/$name"; do
		[ ! -x "$path" ] || { echo "$path"; return; }
	done
	return 1
}

# The shared libraries that a program needs, and the loader, which stands without "=>".
list_libraries() {
	LD_LIBRARY_PATH=$build/client/.libs ldd "$1" >"$work/ldd" || return
	! grep 'not found' "$work/ldd" >&2 || return
	sed -n -e 's/^.*=> \(\/[^ ]*\) .*/\1/p' -e 's/^[[:space:]]*\(\/[^ ]*\) .*/\1/p' "$work/ldd"
}

pack_initramfs() {
	(cd "$1" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -1) >"$work/initramfs.gz" ||
		bail_out "the initramfs could not be packed"
}

# ---- Booting ---------------------------------------------------------------------------------------

names=()

boot() {
	local name=$1 boot_timeout=$2 started=$SECONDS machine
	shift 2
	timeout --kill-after=5 "$boot_timeout" qemu-system-x86_64 \
		-accel tcg -cpu max,+svm -smp 2 -nodefaults -display none -no-reboot \
		-kernel "$kernel" -initrd "$work/initramfs.gz" \
		-serial "file:$work/$name.console" -serial "file:$work/$name.tap" "$@" \
		</dev/null >"$work/$name.qemu" 2>&1 &
	machine=$!
	trap 'kill $machine 2>/dev/null; wait; exit 1' TERM INT
	wait $machine
	echo "$? $((SECONDS - started))" >"$work/$name.status"
}

# A machine with further options of QEMU's, when it is its turn; not if another one alone is wanted.
start() {
	[ -z "$only" ] || [ "$only" = "$1" ] || return 0
	names+=("$1")
	while [ "$(jobs -pr | wc -l)" -ge "$jobs" ]; do
		wait -n
	done
	boot "$@" &
}

await_machines() {
	wait
	[ ${#names[@]} -gt 0 ] || bail_out "there is no machine $only"
}

# ---- One TAP stream out of many --------------------------------------------------------------------

n_lines=0
n_failed=0

# Reads a machine's TAP with rules in awk, which call result(is_ok, text) and set ended; other lines
# become comments.  Nothing that did not come to its end counts as passed.  Further arguments are
# awk's.
merge() {
	local name=$1 rules=$2 status seconds n failed
	shift 2
	read -r status seconds <"$work/$name.status" 2>/dev/null || { status=none; seconds=0; }
	touch "$work/$name.tap"
	tr -d '\r\000' <"$work/$name.tap" | awk -v name="$name" -v first="$n_lines" \
		-v qemu_status="$status" -v seconds="$seconds" "$@" '
	function result(is_ok, text) {
		n++
		if (!is_ok)
			failed++
		print (is_ok ? "ok " : "not ok ") (first + n) " - " name ": " text
	}
	'"$rules"'
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
	[ "$failed" = 0 ] || tail -n 60 "$work/$name".{console,journal,qemu} 2>/dev/null |
		tr -d '\r\000' | sed 's/^/# /'
}

# The plan, what came of it, and these kinds of files for whoever wants to keep them.
finish() {
	local kind
	echo "1..$n_lines"
	echo "# $((n_lines - n_failed)) passed, $n_failed failed, in ${#names[@]} machines and $SECONDS s"
	if [ -n "$logs" ]; then
		mkdir -p "$logs"
		for kind in "$@"; do
			cp "$work"/*."$kind" "$logs/"
		done
	fi
	[ "$n_failed" = 0 ]
}
