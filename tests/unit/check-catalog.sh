#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The catalog explains every line of the log that has a message id, and no others; journalctl takes
# it; and what it and the manual call fields are fields that the log has.  TAP.
set -u
LC_ALL=C
export LC_ALL

top=${srcdir:-$(dirname "$0")/../..}
catalog=$top/systemd/kvmattrd.catalog
# shellcheck source=tests/unit/tap.sh
. "$top/tests/unit/tap.sh"

# ---- Ids --------------------------------------------------------------------------------------

sed -n '/^#define LOG_IDS/,/^enum/p' "$top/daemon/log-ids.h" | tr '\n\t\\' '   ' |
	grep -o 'X([A-Z_]*, *[A-Z]*, *"[^"]*")' >"$work/rows"
sed 's/.*"\(.*\)".*/\1/' "$work/rows" >"$work/ids"
[ "$(wc -l <"$work/ids")" -gt 20 ]
ok "there are ids to look for: $(wc -l <"$work/ids")"
! grep -qvx '[0-9a-f]\{32\}' "$work/ids"
ok "each is 32 hexadecimal digits"
[ -z "$(sort "$work/ids" | uniq -d)" ]
ok "no two are the same"
sed -n 's/^-- //p' "$catalog" >"$work/explained"
same "$work/ids" "$work/explained" "each has one entry in the catalog, in the same order, and nothing else has"

# ---- Entries ----------------------------------------------------------------------------------

# An id, and whether its entry has these headers and a text.
awk '
	function tell() { if (id) print id, subject && by && support && text ? "whole" : "lacks something" }
	/^-- / { tell(); id = $2; subject = by = support = text = 0; next }
	/^Subject: ./ { subject = 1; next }
	/^Defined-By: kvmattrd$/ { by = 1; next }
	/^Support: man:[a-z.-]+\([0-9]\)$/ { support = 1; next }
	/./ { text = 1 }
	END { tell() }' "$catalog" >"$work/entries"
sed 's/$/ whole/' "$work/ids" >"$work/whole"
same "$work/whole" "$work/entries" "each says what it is about, whose it is and where there is more"
sed -n 's/^Support: man:\(.*\)(\([0-9]\))$/\1.\2/p' "$catalog" | sort -u >"$work/pages"
while read -r page; do
	[ -e "$top/doc/$page.scd" ] || [ -e "$top/doc/$page.scd.in" ]
	ok "the manual has $page"
done <"$work/pages"

# ---- Fields -----------------------------------------------------------------------------------

fields_in() {
	grep -o "$1" "$2" | tr -d '"*@' | sort -u
}

fields_in '"KVMATTR_[A-Z_]*"' "$top/daemon/log.c" >"$work/fields"
fields_in '^\*KVMATTR_[A-Z_]*\*$' "$top/doc/kvmattrd.8.scd" >"$work/described"
[ -s "$work/fields" ]
ok "there are fields to look for"
same "$work/fields" "$work/described" "kvmattrd.8 has every field of the log, and no others"
fields_in '@[A-Z_]*@' "$catalog" >"$work/used"
comm -13 "$work/fields" "$work/used" >"$work/unknown"
same /dev/null "$work/unknown" "the catalog refers to fields that there are"

# ---- journalctl -------------------------------------------------------------------------------

if ! command -v journalctl >/dev/null; then
	n=$((n + 1))
	echo "ok $n - journalctl takes the catalog # SKIP there is no journalctl"
	echo "1..$n"
	exit 0
fi
mkdir -p "$work/root/usr/lib/systemd/catalog" "$work/root/var/lib/systemd/catalog"
cp "$catalog" "$work/root/usr/lib/systemd/catalog/"
journalctl --root="$work/root" --update-catalog >"$work/said" 2>&1
ok "journalctl compiles the catalog"
same /dev/null "$work/said" "journalctl has nothing to say against it"
journalctl --root="$work/root" --list-catalog | sed 's/ .*//' >"$work/listed"
sort "$work/ids" >"$work/sorted"
same "$work/sorted" "$work/listed" "journalctl lists every entry"
echo "1..$n"
