# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# For checks written in shell, which source it: a directory of theirs, and TAP.  The plan
# is theirs to print.
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
n=0

# ok LABEL: by the status of the command before it.
ok() {
	if [ $? -eq 0 ]; then
		verdict=ok
	else
		verdict='not ok'
	fi
	n=$((n + 1))
	echo "$verdict $n - $1"
}

# same ONE OTHER LABEL: the lines of both files are the same.
same() {
	diff "$1" "$2" | sed -n 's/^[<>]/#&/p'
	cmp -s "$1" "$2"
	ok "$3"
}
