#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The Debian packages: they build from what "make dist" puts into a tarball, lintian has nothing to
# say, the library's interface is the one that was promised, and who installs them and purges them
# again has the machine that there was.
#
# Usage: check-package.sh BUILD [FOLDER]
# BUILD is the top of a build tree.  The packages are left in FOLDER, if one is named.  TAP.
# Installing and purging is for root in a place of its own ($CI, or KVMATTR_MAY_INSTALL=1).
set -u

build=$(realpath "${1:?the top of a build tree}")
kept=${2:-}
here=$(cd "$(dirname "$0")" && pwd)
top=$here/../..

skip() {
	echo "1..0 # SKIP skipped: $*"
	exit 0
}

for program in dpkg-buildpackage dh lintian abidiff; do
	command -v $program >/dev/null ||
		skip "there is no $program; apt-get install dpkg-dev debhelper lintian abigail-tools"
done
# shellcheck source=tests/unit/tap.sh
. "$top/tests/unit/tap.sh"
export LC_ALL=C

# ---- Building ------------------------------------------------------------------------------------

version=$(sed -n '1s/.*(\(.*\)-.*/\1/p' "$top/debian/changelog")
source=$work/kvmattrd-$version
make -s -C "$build" dist DIST_TARGETS=dist-gzip distdir="kvmattrd-$version" >"$work/dist.log" 2>&1
ok "the tarball is made" || tail -n 5 "$work/dist.log"
tar -xzf "$build/kvmattrd-$version.tar.gz" -C "$work" && cp -r "$top/debian" "$source/"
rm -f "$build/kvmattrd-$version.tar.gz"
(cd "$source" && DEB_BUILD_OPTIONS="nocheck parallel=$(nproc)" \
	dpkg-buildpackage -us -uc -b >"$work/build.log" 2>&1)
ok "kvmattrd, libkvmattr0 and libkvmattr-dev are built from it"
ls "$work"/{kvmattrd,libkvmattr0,libkvmattr-dev}_*.deb >/dev/null ||
	{ tail -n 20 "$work/build.log" | sed 's/^/# /'; echo "1..$n"; exit 1; }
[ -z "$kept" ] || { mkdir -p "$kept" && cp "$work"/*.deb "$kept/"; }

lintian --allow-root --fail-on warning "$work"/*.changes >"$work/lintian" 2>&1
ok "lintian has no error and no warning"
sed 's/^/# /' "$work/lintian"

# ---- The library -----------------------------------------------------------------------------------

# --drop-private-types: what is not in the header is nobody's business.
dpkg-deb -x "$work"/libkvmattr0_*.deb "$work/root"
dpkg-deb -x "$work"/libkvmattr-dev_*.deb "$work/root"
dpkg-deb -x "$work"/libkvmattr0-dbgsym_*.deb "$work/root"
library=$(find "$work/root" -name 'libkvmattr.so.0.*' -type f)
abidw --no-corpus-path --no-comp-dir-path --no-architecture --drop-private-types \
	--headers-dir "$work/root/usr/include" --debug-info-dir "$work/root/usr/lib/debug" \
	--out-file "$work/abi" "$library"
[ -z "$kept" ] || cp "$work/abi" "$kept/libkvmattr.abi"
abidiff "$here/libkvmattr.abi" "$work/abi" >"$work/abidiff" 2>&1
ok "libkvmattr's interface is that of tests/package/libkvmattr.abi"
sed 's/^/# /' "$work/abidiff"

# ---- Installing ------------------------------------------------------------------------------------

# Everything that a package may touch, and who there is.
picture() {
	find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /var/lib/dpkg \
		-o -path /var/log -o -path /var/cache -o -path "$build" -o -path "$work" \) -prune \
		-o \( -path '/etc/*' -o -path '/usr/*' -o -path '/var/*' -o -path '/run/kvmattrd*' \
		-o -path '/lib/*' \) -print | sort
	cat /etc/passwd /etc/group
}

if [ "$(id -u)" != 0 ] || [ -z "${CI:-}${KVMATTR_MAY_INSTALL:-}" ]; then
	echo "ok $((n + 1)) - they are installed and purged # SKIP for root with KVMATTR_MAY_INSTALL=1"
	echo "1..$((n + 1))"
	exit 0
fi
if dpkg-query -W kvmattrd libkvmattr0 >/dev/null 2>&1; then
	echo "ok $((n + 1)) - they are installed and purged # SKIP they are installed here already"
	echo "1..$((n + 1))"
	exit 0
fi
picture >"$work/before"
dpkg -i "$work"/kvmattrd_*.deb "$work"/libkvmattr0_*.deb "$work"/libkvmattr-dev_*.deb \
	>"$work/install.log" 2>&1
ok "they are installed"
getent passwd kvmattr >"$work/user"
ok "the daemon's user is there: $(cat "$work/user")"
[ "$(kvmattrctl --version)" = "kvmattrctl $version" ]
ok "kvmattrctl runs"
[ "$(pkg-config --modversion libkvmattr)" = "$version" ]
ok "pkg-config knows libkvmattr"
dpkg --purge kvmattrd libkvmattr-dev libkvmattr0 >"$work/purge.log" 2>&1
ok "they are purged"
picture >"$work/after"
diff "$work/before" "$work/after" >"$work/left"
ok "nothing is left of them, and nothing else is gone"
sed 's/^/# /' "$work/left"
echo "1..$n"
