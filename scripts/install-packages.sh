#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Installs what is missing of what the project needs, on Debian and its relatives.
#
# Usage: scripts/install-packages.sh build|test ...
#   build  compiler, autotools and libraries: enough for scripts/demo.sh
#   test   what the tests need beside that: clang, valgrind, QEMU, node …
set -euo pipefail

build='autoconf automake libtool make gcc libc6-dev pkg-config check
	libevent-dev libjson-c-dev libsystemd-dev libsmartcols-dev libinih-dev libisal-dev
	libseccomp-dev scdoc'
test='clang clang-format valgrind qemu-system-x86 busybox-static cpio systemd socat procps git zsh
	python3-aiorpcx python3-jsonschema dpkg-dev debhelper lintian abigail-tools'
# Whoever has node from elsewhere has its npm, and Debian's would drive it out.
command -v npm >/dev/null || test+=' nodejs npm'

wanted=()
promtool=
for set in "$@"; do
	case $set in
	build) wanted+=($build) ;;
	test)
		wanted+=($test)
		command -v promtool >/dev/null || promtool=wanted
		;;
	*) echo "$0: no set of packages '$set': build or test" >&2; exit 2 ;;
	esac
done

missing=()
for package in "${wanted[@]}"; do
	status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=
	[ "$status" = installed ] || missing+=("$package")
done
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
export DEBIAN_FRONTEND=noninteractive

install_missing() {
	command -v apt-get >/dev/null || {
		echo "$0: missing: ${missing[*]}; there is no apt-get here: install them your way" >&2
		exit 1
	}
	[ ${#as_root[@]} = 0 ] || command -v sudo >/dev/null || {
		echo "$0: missing: ${missing[*]}; run as root: apt-get install ${missing[*]}" >&2
		exit 1
	}
	echo "Installing ${missing[*]}"
	# Once with the lists that are there; if they are old or none, again with new ones.
	local install=("${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}")
	"${install[@]}" >/dev/null 2>&1 || {
		"${as_root[@]}" apt-get update -qq
		"${install[@]}" >/dev/null
	}
}

# Alone: with its package, prometheus, would come a server that is started at once.
get_promtool() (
	folder=$(mktemp -d)
	trap 'rm -rf "$folder"' EXIT
	cd "$folder" && apt-get download -qq prometheus && dpkg-deb -x prometheus_*.deb . &&
		"${as_root[@]}" install usr/bin/promtool /usr/local/bin/
)

[ ${#missing[@]} = 0 ] || install_missing
[ ! "$promtool" ] || get_promtool 2>/dev/null ||
	echo "$0: no promtool to be had; the test that needs it will be skipped" >&2
