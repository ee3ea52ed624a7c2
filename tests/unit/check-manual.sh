#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The manual says what the programs do: every option of --help, every setting, every function of
# the library, every message and record with its fields, every status, every method, event and limit
# of the control socket.  It reads the programs' --help, the sources and the manual's sources, and
# prints TAP.  Runs in the top of a build directory.
set -u
# So that argp's words are where they are looked for, whatever the caller's terminal and language.
LC_ALL=C ARGP_HELP_FMT=
export LC_ALL ARGP_HELP_FMT
# glibc's argp leaves memory behind when it ends a program after --help.
ASAN_OPTIONS=detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}
export ASAN_OPTIONS

top=${srcdir:-$(dirname "$0")/../..}
doc=$top/doc
# shellcheck source=tests/unit/tap.sh
. "$top/tests/unit/tap.sh"

# Nothing to look for is a failure, too: then it is the test that has drifted.
there_are() { # FILE WHAT
	[ -s "$1" ]
	ok "there is something to look for: $2"
}

# ---- Options ----------------------------------------------------------------------------------

# "-f --foreground" or "- --socket", one option a line, as argp prints them.
options_of_help() {
	sed -n -e 's/^ *\(-[a-zA-Z?]\), --\([a-z-]*\).*/\1 --\2/p' \
		-e 's/^  *--\([a-z-]*\).*/- --\1/p' | sort -u
}

# The options that a manual page describes: its lines that begin with one.
options_of_page() {
	sed -n '/^\*-/p' "$1" | grep -o -e '--[a-z-]*' | sort -u
}

check_options() { # PROGRAM PAGE HELP
	options_of_help <"$3" >"$work/options"
	there_are "$work/options" "options of $1"
	while read -r short long; do
		if [ "$short" = - ]; then
			grep -q -e "^\*$long\*" -e "^\*.*, \*$long\*" -e "; \*$long\*" "$doc/$2.scd"
			ok "$1: $long stands in $2"
		else
			grep -q -e "^\*$short\*, \*$long\*" "$doc/$2.scd"
			ok "$1: $short, $long stands in $2"
		fi
	done <"$work/options"
	options_of_page "$doc/$2.scd" >"$work/described"
	while read -r long; do
		case $long in
		--help | --usage | --version) continue ;; # argp's own
		esac
		grep -q -e " $long\$" "$work/options"
		ok "$1: $long of $2 is one of its options"
	done <"$work/described"
}

check_program() { # PROGRAM PAGE
	"./$1" --help >"$work/help"
	ok "$1 --help says something"
	check_options "$1" "$2" "$work/help"
}

check_program daemon/kvmattrd kvmattrd.8
check_program client/kvmattr-simvm kvmattr-simvm.1

# kvmattrctl has options of its own and those of its commands.
client/kvmattrctl --help >"$work/help"
ok "client/kvmattrctl --help says something"
sed -n '/^ *Commands:/,/^$/s/^  \([a-z-]*\( [a-z-]*\)\{0,1\}\).*/\1/p' "$work/help" |
	sed 's/ *$//' >"$work/commands"
there_are "$work/commands" 'commands of kvmattrctl'
while read -r words; do
	# shellcheck disable=SC2086 # a command may be two words
	client/kvmattrctl $words --help </dev/null >>"$work/help"
	ok "kvmattrctl $words --help says something"
	grep -q "^\*$words\*\|; \*$words\*" "$doc/kvmattrctl.1.scd"
	ok "kvmattrctl: $words stands in kvmattrctl.1"
done <"$work/commands"
check_options client/kvmattrctl kvmattrctl.1 "$work/help"

# ---- Settings ---------------------------------------------------------------------------------

# "section key type min max default", from the table in configuration.c.
tr '\n\t' '  ' <"$top/daemon/configuration.c" |
	grep -o '{ "[a-z]*", "[a-z-]*", SETTING_[A-Z]*, AT([a-z_]*), [^}]*}' |
	sed 's/[{}",]/ /g; s/AT([a-z_]*)//' >"$work/settings"
# What the page says of a section's key, in one line.
setting_of_page() { # SECTION KEY
	awk -v section="# SECTION [$1]" -v key="*$2* = " '
		/^# / { there = $0 == section }
		/^\*/ { mine = there && index($0, key) == 1 }
		mine { printf "%s ", $0 }' "$doc/kvmattrd.conf.5.scd"
}
there_are "$work/settings" 'settings of kvmattrd'
while read -r section key type min max otherwise; do
	setting_of_page "$section" "$key" >"$work/setting"
	[ -s "$work/setting" ]
	ok "setting $key stands in kvmattrd.conf.5, section $section"
	case $type in
	SETTING_NUMBER)
		grep -q "= $min to $max .*Default:[[:space:]]*${otherwise}[.,]" "$work/setting"
		ok "setting $key: its range and default are $min to $max, $otherwise"
		;;
	SETTING_MODE)
		grep -q "$min to $max\. Default: $otherwise\." "$work/setting"
		ok "setting $key: its range and default are $min to $max, $otherwise"
		;;
	esac
done <"$work/settings"
sed -n 's/^\*\([a-z-]*\)\* = .*/\1/p' "$doc/kvmattrd.conf.5.scd" >"$work/described"
while read -r key; do
	grep -q " $key " "$work/settings"
	ok "setting $key of kvmattrd.conf.5 is one of kvmattrd's"
done <"$work/described"

# ---- The library ------------------------------------------------------------------------------

sed -n 's/^[[:space:]]*\(kvmattr_[a-z_]*\);$/\1/p' "$top/client/libkvmattr.map" >"$work/functions"
there_are "$work/functions" 'functions of libkvmattr'
while read -r name; do
	grep -q "\*$name\*()" "$doc/libkvmattr.3.scd"
	ok "$name() stands in libkvmattr.3"
done <"$work/functions"
grep -o '\*kvmattr_[a-z_]*\*()' "$doc/libkvmattr.3.scd" | tr -d '*()' | sort -u >"$work/described"
while read -r name; do
	grep -qx "$name" "$work/functions"
	ok "$name() of libkvmattr.3 is one of its functions"
done <"$work/described"

# ---- The protocol: numbers --------------------------------------------------------------------

page=$doc/kvmattr-protocol.7.scd
types=$top/protocol/kvmattr-types.h
wire=$top/protocol/wire.h

# The enumerators "NAME = NUMBER" from a line on to the next "};".
enumerators() { # FILE FIRST-LINE PREFIX
	sed -n "/^$2/,/^}/s/^[[:space:]]*$3\([A-Z0-9_]*\) = \([0-9]*\),.*/\2 \1/p" "$1"
}

# A table of the page under a header: the first two cells of its rows.
numbered_rows() { # SECTION
	awk -v section="# $1" '
		/^# / { there = $0 == section }
		there && /^\|. *[0-9]/ { number = $2; getline; print number, $2 }' "$page" |
		sed 's/:.*//'
}

check_numbers() { # WHAT SECTION
	there_are "$work/numbers" "$1"
	numbered_rows "$2" >"$work/rows"
	while read -r number name; do
		grep -qx "$number $name" "$work/rows"
		ok "$1 $name is $number in kvmattr-protocol.7"
	done <"$work/numbers"
	while read -r number name; do
		grep -qx "$number $name" "$work/numbers"
		ok "$1 $name, $number in kvmattr-protocol.7, exists"
	done <"$work/rows"
}

sed -n 's/^[[:space:]]*X(\([A-Z_]*\), \([0-9]*\), .*/\2 \1/p' "$types" >"$work/numbers"
check_numbers status STATUSES
enumerators "$types" 'enum kvmattr_update_kind' KVMATTR_ >"$work/numbers"
check_numbers update UPDATES
enumerators "$types" 'enum kvmattr_abi' KVMATTR_ABI_ >"$work/numbers"
check_numbers ABI WORDS

enumerators "$wire" 'enum wire_type' WIRE_ >"$work/numbers"
there_are "$work/numbers" messages
sed -n '/^## .*([0-9]*)/p' "$page" | tr ',' '\n' |
	sed -n 's/[# ]*\([A-Z_]*\) (\([0-9]*\))/\2 \1/p' >"$work/rows"
while read -r number name; do
	grep -qx "$number $name" "$work/rows"
	ok "message $name is $number in kvmattr-protocol.7"
done <"$work/numbers"
while read -r number name; do
	grep -qx "$number $name" "$work/numbers"
	ok "message $name, $number in kvmattr-protocol.7, exists"
done <"$work/rows"

# ---- Layouts ----------------------------------------------------------------------------------

# "NAME size SIZE" and "NAME OFFSET SIZE FIELD", of the structures of a family: "wire", or "journal"
# for what is in files.  Names are the page's: messages, records and headers in capitals.
# Structures have no padding: the assertions on their sizes see to that.
layouts_of() { # FAMILY FILE...
	wanted=$1
	shift
	awk -v wanted="$wanted" '
		function family_of(struct) {
			if (struct ~ /^wire_|^kvmattr_range$/) return "wire"
			if (struct ~ /^vm_record_|^body_|^(checkpoint|image|export)_header$/) return "journal"
			return struct ~ /^image_(layer|map)$|^span$/ ? "journal" : ""
		}
		function name_of(struct, is_message) {
			if (struct == "wire_header") return "HEADER"
			if (sub(/_header$/, "", struct)) is_message = 1
			if (sub(/^vm_record_/, "", struct)) is_message = struct != "part"
			sub(/^wire_|^kvmattr_|^body_|^image_/, "", struct)
			if (struct == "notice") return "ERROR"
			if (struct == "update_list") return "UPDATE"
			return is_message ? toupper(struct) : struct
		}
		function size_of(type) {
			if (type == "char") return 1
			if (type ~ /^u?int[0-9]+_t$/) { gsub(/[^0-9]/, "", type); return type / 8 }
			return size[type]
		}
		/^#define [A-Z_]+ +\(?(1 \+ )?[0-9]+u?\)?/ { number = $3; sub(/u$/, "", number); constant[$2] = number }
		/^struct [a-z_]+ \{/ {
			struct = $2
			inside = 1
			offset = is_message = n = 0
			next
		}
		inside && /^\};/ {
			inside = 0
			size["struct " struct] = offset
			if (family_of(struct) != wanted) next
			name = name_of(struct, is_message)
			print name, "size", offset
			for (i = 0; i < n; i++) print name, field[i]
			next
		}
		inside {
			line = $0
			sub(/\/\*.*/, "", line)
			if (line !~ /;[ \t]*$/) next
			gsub(/;|^[ \t]+/, "", line)
			count = 1
			if (line ~ /\[/) {
				count = line
				sub(/.*\[/, "", count)
				sub(/\].*/, "", count)
				if (count in constant) count = constant[count]
				sub(/\[.*/, "", line)
			}
			words = split(line, word, " ")
			type = words == 3 ? word[1] " " word[2] : word[1]
			if (type == "struct wire_header") is_message = 1
			else field[n++] = offset " " size_of(type) * count " " word[words]
			offset += size_of(type) * count
		}' "$@" | sort
}

# The same from a page.  A size stands in the text before the fields.
layouts_of_page() { # PAGE
	awk '
		function cell(line) { sub(/^[|:][^ ]? +/, "", line); return line }
		function forget() { name = ""; in_fields = 0 }
		BEGIN {
			section["# HEADER"] = "HEADER"
			section["# CHECKPOINTS"] = "CHECKPOINT"
			section["# IMAGES"] = "IMAGE"
			section["# EXPORTS"] = "EXPORT"
		}
		/^# / { forget(); name = section[$0] }
		/^## / { forget(); if ($0 ~ /\([0-9]+\)/) name = $2 }
		/^Each \*/ { forget(); name = $2; gsub(/\*/, "", name) }
		name && !in_fields && /[0-9]+ bytes/ && !(name in sized) {
			text = $0
			match(text, /[0-9]+ bytes/)
			text = substr(text, RSTART, RLENGTH)
			sub(/ bytes/, "", text)
			sized[name] = text
			print name, "size", text
		}
		/^\|. *\*Offset\*/ { in_fields = 1; column = 99; next }
		in_fields && /^$/ { in_fields = 0 }
		in_fields && name && /^\|/ { column = 1; offset = cell($0) }
		in_fields && name && /^:/ {
			column++
			if (column == 2) size = cell($0)
			if (column == 3) print name, offset, size, cell($0)
		}' "$1" | sort
}

# PAGE has the layouts that are in $work/layouts, and no others.
check_layouts() { # PAGE WHERE
	layouts_of_page "$doc/$1.scd" >"$work/described"
	there_are "$work/layouts" "layouts for $1"
	cut -d' ' -f1 "$work/layouts" | sort -u >"$work/names"
	while read -r name; do
		grep "^$name " "$work/layouts" >"$work/one"
		grep "^$name " "$work/described" >"$work/other"
		same "$work/one" "$work/other" "the size and the fields of $name are those of $1"
	done <"$work/names"
	# What is a header alone has no structure.
	cut -d' ' -f1 "$work/described" | sort -u | grep -vx AGENT_OPENED >"$work/other"
	same "$work/names" "$work/other" "$1 has no layouts that $2"
}

layouts_of wire "$types" "$wire" >"$work/layouts"
check_layouts kvmattr-protocol.7 'wire.h has not'

journal=$top/daemon/journal
layouts_of journal "$types" "$wire" "$journal/record.h" "$journal/vm-records.h" \
	"$journal/checkpoint.c" "$journal/checkpoint-body.c" "$journal/export.h" \
	"$top/daemon/policy/image.c" "$top/daemon/policy/image-map.c" >"$work/layouts"
check_layouts kvmattr-journal.5 'the journal, its checkpoints, images and exports have not'

# ---- The journal: numbers ---------------------------------------------------------------------

enumerators "$journal/vm-records.h" 'enum vm_record_type' VM_RECORD_ >"$work/numbers"
there_are "$work/numbers" 'types of records'
sed -n 's/^## \([A-Z_]*\) (\([0-9]*\))$/\2 \1/p' "$doc/kvmattr-journal.5.scd" >"$work/rows"
same "$work/numbers" "$work/rows" \
	"kvmattr-journal.5 has the journal's records with their numbers, in their order"

# ---- The control socket -----------------------------------------------------------------------

# Its page is made in the build directory, out of the table that the daemon uses.
page=doc/kvmattr-rpc.7.scd
serve=$top/daemon/serve

# A section's lines that a sed script makes into names, in their order.
names_in() { # FIRST-HEADER LAST-HEADER SCRIPT
	sed -n "/^# $1\$/,/^# $2\$/$3" "$page" | sort
}

check_names() { # WHAT FILE-OF-NAMES FILE-OF-THE-PAGE
	there_are "$2" "${1}s"
	same "$2" "$3" "kvmattr-rpc.7 has every $1, once, and no others"
}

# A row of a room's array is two tabs deep, and only a method has a dot in its name.
sed -n 's/^\t\t\.name = "\([a-z]*\.[a-z_]*\)",$/\1/p' "$serve"/methods-*.c | sort >"$work/methods"
names_in METHODS EXAMPLES 's/^## //p' >"$work/described"
check_names method "$work/methods" "$work/described"

sed -n 's/^\tX([A-Z_]*, "\([a-z.]*\)", ".*/\1/p' "$serve/events.h" | sort >"$work/events"
names_in EVENTS LIMITS 's/^\*\([a-z.]*\)\*: .*/\1/p' >"$work/described"
check_names event "$work/events" "$work/described"

sed 's/\*[a-z.-]*\*([0-9])//g' "$page" | grep -o '\*[a-z]*\.[a-z_]*\*' | tr -d '*' |
	sort -u >"$work/mentioned"
there_are "$work/mentioned" 'methods and events that kvmattr-rpc.7 mentions'
while read -r name; do
	grep -qxF "$name" "$work/methods" "$work/events"
	ok "$name of kvmattr-rpc.7 is a method or an event"
done <"$work/mentioned"

# "name value" of each limit; a value that is a constant is looked up, others are settings.
tr '\n' ' ' <"$serve/methods-daemon.c" |
	grep -o 'json_put_number(limits, "[a-z_]*",[^;]*);' |
	sed 's/.*"\([a-z_]*\)",[[:space:]]*\(.*\));/\1 \2/' | sort >"$work/limits"
sed -n '/^# LIMITS$/,/^# METHODS$/p' "$page" | awk '
	/^\|  \*/ { name = $2; gsub(/\*/, "", name); getline; sub(/^:  /, ""); print name, $0 }' |
	sort >"$work/rows"
cut -d' ' -f1 "$work/limits" >"$work/names"
cut -d' ' -f1 "$work/rows" >"$work/described"
check_names limit "$work/names" "$work/described"
while read -r name value; do
	case $value in
	*[!A-Z_]*) continue ;;
	esac
	expression=$(sed -n "s/^#define $value  *\([^/]*\).*/\1/p" "$serve"/*.h | tr -d u)
	# shellcheck disable=SC2004 # not a number but a product
	number=$(($expression))
	grep -qx "$name $number" "$work/rows"
	ok "limit $name is $number in kvmattr-rpc.7"
done <"$work/limits"

echo "1..$n"
