#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Builds the kernel that tests/kernel boots: Debian's linux-source-6.12 with
# tests/kernel/kvm-memory-attributes.patch, configured by tests/kernel/kernel.config.
#
# No kernel that a distribution ships has read, write and execute memory attributes, so the tests
# bring their own.  The build takes a few minutes and 2 GiB; a second run with the same source,
# patch and configuration builds nothing.  The last line, and the only one on standard output,
# is where the kernel is.  Status 77: this machine cannot build it, and the reason was given.
set -eu

usage() {
	cat <<-EOF
	Usage: $0 [--build-dir DIR] [--jobs N] [OUTPUT]

	Builds the kernel for tests/kernel and prints its path; with OUTPUT, copies it there.
	  --build-dir DIR  unpack and build in DIR (default: build/kernel in the source tree)
	  --jobs N         as many compilers at once (default: one for each processor)
	EOF
}

say() {
	echo "build-kernel: $*" >&2
}

fail() {
	say "$*"
	exit 1
}

cannot() {
	say "$*"
	exit 77
}

package=linux-source-6.12
tree=$(cd "$(dirname "$0")/.." && pwd)
patch=$tree/tests/kernel/kvm-memory-attributes.patch
config=$tree/tests/kernel/kernel.config
build_dir=$tree/build/kernel
jobs=$(nproc)
output=

while [ $# -gt 0 ]; do
	case $1 in
	--build-dir) build_dir=${2:?--build-dir needs a folder}; shift ;;
	--jobs) jobs=${2:?--jobs needs a number}; shift ;;
	--help) usage; exit 0 ;;
	-*) usage >&2; exit 2 ;;
	*) output=$1 ;;
	esac
	shift
done

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		cannot "this needs root, and sudo is not installed; as root: $*"
	fi
}

is_installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

has_candidate() {
	LC_ALL=C apt-cache policy "$1" 2>/dev/null | grep -q '^ *Candidate: [0-9]'
}

install_packages() {
	command -v apt-get >/dev/null || cannot "this is not a Debian: build a kernel from" \
		"$patch and $config by hand, and set KVMATTR_TEST_KERNEL to its bzImage"
	missing=
	for p in "$package" gcc make patch flex bison bc libelf-dev libssl-dev cpio rsync kmod xz-utils; do
		is_installed "$p" || missing="$missing $p"
	done
	[ -n "$missing" ] || return 0
	say "installing$missing"
	has_candidate "$package" || as_root apt-get update -q >&2
	is_installed "$package" || has_candidate "$package" || cannot "$package is not in this" \
		"machine's package repositories. Debian 12 has it in bookworm-security and" \
		"bookworm-backports: add one of them to /etc/apt/sources.list.d and run apt-get" \
		"update; or set KVMATTR_TEST_KERNEL to the bzImage of a kernel built elsewhere"
	# shellcheck disable=SC2086 # a list of words
	as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install -q -y --no-install-recommends $missing >&2 ||
		cannot "apt-get could not install$missing; its message is above"
}

build() {
	say "unpacking $source_archive"
	rm -rf "${build_dir:?}/$package"
	tar -x -f "$source_archive" -C "$build_dir"
	cd "$build_dir/$package"
	patch -s -p1 <"$patch" >&2 || fail "$patch does not fit this $package" \
		"(it was made on 6.12.117-1~deb12u1): set KVMATTR_TEST_KERNEL to a kernel built elsewhere"
	make -s tinyconfig >&2
	./scripts/kconfig/merge_config.sh -m .config "$config" >"$build_dir/config.log" 2>&1
	make -s olddefconfig >&2
	for want in CONFIG_KVM_AMD=y CONFIG_KVM_SW_PROTECTED_VM=y CONFIG_SERIAL_8250_CONSOLE=y; do
		grep -q "^$want$" .config || fail "the configuration came out without $want:" \
			"see $build_dir/config.log"
	done
	say "compiling, with $jobs jobs; the log is $build_dir/make.log"
	make -j"$jobs" bzImage >"$build_dir/make.log" 2>&1 || {
		tail -n 20 "$build_dir/make.log" >&2
		fail "the kernel does not compile; the end of $build_dir/make.log is above"
	}
	cp arch/x86/boot/bzImage "$build_dir/bzImage"
}

mkdir -p "$build_dir"
build_dir=$(cd "$build_dir" && pwd)
exec 9>"$build_dir/lock"
flock 9

source_archive=/usr/src/$package.tar.xz
[ -e "$source_archive" ] || install_packages
[ -e "$source_archive" ] || cannot "$package is installed, but has no $source_archive:" \
	"set KVMATTR_TEST_KERNEL to the bzImage of a kernel built elsewhere"

# What the kernel is made of; the archive by size and time, since reading it takes seconds.
made_of="$(cat "$patch" "$config" | sha256sum) $(stat -L -c '%s %Y' "$source_archive")"
if [ -e "$build_dir/bzImage" ] && [ "$(cat "$build_dir/made-of" 2>/dev/null)" = "$made_of" ]; then
	say "$build_dir/bzImage is up to date"
else
	install_packages
	(build)
	echo "$made_of" >"$build_dir/made-of"
fi

if [ -n "$output" ]; then
	cp "$build_dir/bzImage" "$output"
	echo "$output"
else
	echo "$build_dir/bzImage"
fi
