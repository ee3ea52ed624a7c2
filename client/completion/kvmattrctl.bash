# SPDX-License-Identifier: GPL-2.0-or-later
# Completion of kvmattrctl's command lines in bash; kvmattrctl itself knows what there is.

_kvmattrctl() {
	local -a words lines=()
	local line=${COMP_LINE:0:COMP_POINT} current candidate

	# Split at blanks alone: bash also splits COMP_WORDS at = and :.
	read -ra words <<<"$line"
	[[ $line != *[[:blank:]] ]] || words+=('')
	current=${words[-1]}
	COMPREPLY=()
	mapfile -t lines < <("$1" complete -- "${words[@]:1}" 2>/dev/null)
	# bash replaces only what follows the =
	[[ $current != -*=* ]] || current=${current#*=}
	for candidate in "${lines[@]}"; do
		if [[ $candidate == :files ]]; then
			compopt -o filenames 2>/dev/null
			mapfile -t COMPREPLY < <(compgen -f -- "$current")
			return
		fi
		COMPREPLY+=("${candidate%%$'\t'*}")
	done
	[[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != --*= ]] || compopt -o nospace 2>/dev/null
}

complete -F _kvmattrctl kvmattrctl
