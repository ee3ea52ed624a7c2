/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/kvmattrctl-command.h"

#include <stddef.h>
#include <string.h>

/* The same command by two names. */
#define EXPLAIN(what)                                                                            \
	.arguments = "VM GPA", .summary = what,                                                  \
	.text = "Says in a few lines what a VTL may do with one page, which layer denies the "   \
		"rest and why, where the intercept goes, and whether KVM enforces it already.  " \
		"GPA is any address in the page: 0x1f000, 4096, 512M.",                          \
	.options = COMMAND_VTL | COMMAND_ACCESS, .n_least = 2, .n_most = 2,                      \
	.run = command_map_explain

#define JOURNAL_TEXT                                                                             \
	"JOURNAL is the name of a VM, or of a journal's directory, as journal list shows them: " \
	"so the past of VMs that are gone can be asked, too."

const struct command commands[] = {
	{
		.words = "status",
		.summary = "the daemon and its VMs at a glance",
		.run = command_status,
	},
	{
		.words = "vm list",
		.summary = "the VMs, with views, layers and state",
		.run = command_vm_list,
	},
	{
		.words = "vm get",
		.arguments = "VM",
		.summary = "one VM: views, RAM, layers, sessions",
		.n_least = 1,
		.n_most = 1,
		.run = command_vm_get,
	},
	{
		.words = "vm views",
		.arguments = "VM",
		.summary = "its views: VTLs, and what KVM enforces there",
		.n_least = 1,
		.n_most = 1,
		.run = command_vm_views,
	},
	{
		.words = "vm layers",
		.arguments = "VM",
		.summary = "its layers: who restricts whom, and how",
		.n_least = 1,
		.n_most = 1,
		.run = command_vm_layers,
	},
	{
		.words = "vm sessions",
		.arguments = "VM",
		.summary = "its sessions: owner and agents",
		.n_least = 1,
		.n_most = 1,
		.run = command_vm_sessions,
	},
	{
		.words = "vm kvm-stats",
		.arguments = "VM",
		.summary = "what KVM counts of it: TLB flushes and more",
		.n_least = 1,
		.n_most = 1,
		.run = command_vm_kvm_stats,
	},
	{
		.words = "vm freeze",
		.arguments = "VM",
		.summary = "updates wait until it is thawed",
		.text = "Returns when nothing is under way any more: then its commit stays what it "
			"is.  Whoever sends an update meanwhile is not answered before vm thaw.  A "
			"restart of the daemon thaws it.",
		.n_least = 1,
		.n_most = 1,
		.run = command_vm_freeze,
	},
	{
		.words = "vm thaw",
		.arguments = "VM",
		.summary = "updates go on, those that waited first",
		.n_least = 1,
		.n_most = 1,
		.run = command_vm_thaw,
	},
	{
		.words = "vm verify",
		.arguments = "VM",
		.summary = "tells KVM all of it again, page by page",
		.text = "KVM cannot be asked what it enforces; so it is told, in all views.  Returns "
			"when that is over, and says whether it enforces all of it now; if not, the "
			"exit status is 6.",
		.n_least = 1,
		.n_most = 1,
		.run = command_vm_verify,
	},
	{
		.words = "vm release",
		.arguments = "VM",
		.summary = "lets go of it: its VMM is disconnected",
		.text = "They can protect nothing any more; KVM keeps what it was told last, as long "
			"as the guest runs.  The journal becomes history.  On a terminal it says so "
			"and asks first.",
		.options = COMMAND_SURE | COMMAND_IF_COMMIT,
		.n_least = 1,
		.n_most = 1,
		.run = command_vm_release,
	},
	{
		.words = "vm update",
		.arguments = "VM KIND",
		.summary = "one update, as its owner could make it",
		.text = "KIND: protect (--layer, --protection, --range), set-visibility "
			"(--visibility, --range), lock, unlock, remove-ram (--range), add-ram "
			"(--visibility, --range), enable-layer (--layer, --protection, --mbec), "
			"reset-layer (--layer) or reset-vm.  --restricts goes with protect.  For "
			"instance: kvmattrctl vm update demo protect --layer 1 --protection rx "
			"--range 0x1000:16.  Returns when it is in force in every view.  On a "
			"terminal, what takes protections away is asked about first.",
		.options = COMMAND_UPDATE | COMMAND_SURE,
		.n_least = 2,
		.n_most = 2,
		.run = command_vm_update,
	},
	{
		.words = "sessions",
		.arguments = "[VM]",
		.summary = "who is connected: owners and agents",
		.n_most = 1,
		.run = command_sessions,
	},
	{
		.words = "map show",
		.arguments = "VM",
		.summary = "a picture of guest memory by protection",
		.text = "Draws what a VTL may do with its memory.  Each cell is a part of the address "
			"space.  Its colour, or its letter where there is no colour, is the "
			"protection that restricts most pages of the cell; how full it is says how "
			"much of the cell is restricted at all.  Zoom with --from and --to, or with "
			"--depth: each step draws twice as many rows.  With --svg it is drawn into a "
			"file instead, for a browser; a regular file that is there is replaced.",
		.options = COMMAND_VTL | COMMAND_RANGE | COMMAND_ZOOM | COMMAND_SVG,
		.n_least = 1,
		.n_most = 1,
		.run = command_map_show,
	},
	{
		.words = "map summary",
		.arguments = "VM",
		.summary = "pages by protection, part by part",
		.options = COMMAND_VTL | COMMAND_RANGE | COMMAND_BUCKETS,
		.n_least = 1,
		.n_most = 1,
		.run = command_map_summary,
	},
	{
		.words = "map effective",
		.arguments = "VM",
		.summary = "what a VTL may do, as runs of pages",
		.options = COMMAND_VTL | COMMAND_RANGE,
		.n_least = 1,
		.n_most = 1,
		.run = command_map_effective,
	},
	{
		.words = "map layers",
		.arguments = "VM",
		.summary = "what each layer imposes, in numbers of pages",
		.text = "A row for each VTL that a layer restricts: for how many pages it has set "
			"which protection, its default, and for how many that holds.",
		.n_least = 1,
		.n_most = 1,
		.run = command_map_layers,
	},
	{
		.words = "map layer",
		.arguments = "VM LAYER",
		.summary = "what one layer imposes, as runs of pages",
		.text = "LAYER is the VTL that imposes it, 1 to 15.  A run is explicit where the "
			"layer has entries for its pages, else it is the layer's default.",
		.options = COMMAND_VTL | COMMAND_RANGE,
		.n_least = 2,
		.n_most = 2,
		.run = command_map_layer,
	},
	{ .words = "map explain", EXPLAIN("who allows and who denies access to a page") },
	{ .words = "explain", EXPLAIN("short for map explain") },
	{
		.words = "stats",
		.arguments = "[VM]",
		.summary = "updates, calls, calls saved, latencies",
		.text = "Numbers since the registration of the VM, or since --reset.  Calls saved are "
			"those that it would have taken in addition had only the consecutive pages "
			"of each list been merged.  P50, P99 and MAX are of the time from an "
			"update's receipt to its answer.",
		.options = COMMAND_RESET,
		.n_most = 1,
		.run = command_stats,
	},
	{
		.words = "watch",
		.arguments = "[VM]",
		.summary = "what goes on, second by second, like top",
		.text = "q or ^C ends it.  VMs in trouble come first, then frozen ones, then the busiest "
			"ones.  In a pipe it writes a line for each VM and interval; with --json, "
			"a JSON object for each interval, in one line.  When the daemon is "
			"restarted, it says so and goes on.",
		.options = COMMAND_WATCH,
		.n_most = 1,
		.run = command_watch,
	},
	{
		.words = "events",
		.arguments = "[VM]",
		.summary = "what happens, as it happens, line by line",
		.text = "^C ends it.  Without --since, only what is still to come.  Each line begins "
			"with the event's number; one with ------ says what is no event: that some "
			"were missed, that the daemon went away or is back.  With --json, each is a "
			"JSON object in one line.",
		.options = COMMAND_EVENTS,
		.n_most = 1,
		.run = command_events,
	},
	{
		.words = "metrics",
		.summary = "all numbers, in Prometheus' text format",
		.run = command_metrics,
	},
	{
		.words = "log-level",
		.arguments = "[LEVEL]",
		.summary = "what the daemon logs; or changes that",
		.text = "LEVEL is error, warning, info or debug.  It holds until the daemon ends.",
		.n_most = 1,
		.run = command_log_level,
	},
	{
		.words = "journal status",
		.arguments = "VM",
		.summary = "a VM's journal: how long, how it does",
		.n_least = 1,
		.n_most = 1,
		.run = command_journal_status,
	},
	{
		.words = "journal list",
		.summary = "all journals, also of VMs that are gone",
		.run = command_journal_list,
	},
	{
		.words = "journal log",
		.arguments = "JOURNAL",
		.summary = "what happened, line by line",
		.text = JOURNAL_TEXT,
		.options = COMMAND_SINCE | COMMAND_LIMIT,
		.n_least = 1,
		.n_most = 1,
		.run = command_journal_log,
	},
	{
		.words = "journal show",
		.arguments = "JOURNAL",
		.summary = "what a VTL was allowed as of a commit",
		.text = JOURNAL_TEXT,
		.options = COMMAND_VTL | COMMAND_RANGE | COMMAND_AT,
		.n_least = 1,
		.n_most = 1,
		.run = command_journal_show,
	},
	{
		.words = "journal diff",
		.arguments = "JOURNAL FROM [TO]",
		.summary = "what changed between two commits",
		.text = JOURNAL_TEXT
		"  FROM and TO are commits; TO is the last one if it is left out.",
		.options = COMMAND_VTL | COMMAND_RANGE,
		.n_least = 2,
		.n_most = 3,
		.run = command_journal_diff,
	},
	{
		.words = "journal blame",
		.arguments = "JOURNAL GPA",
		.summary = "who made a page what it is, the newest first",
		.text = JOURNAL_TEXT "  GPA is any address in the page: 0x1f000, 4096, 512M.",
		.options = COMMAND_VTL | COMMAND_LIMIT,
		.n_least = 2,
		.n_most = 2,
		.run = command_journal_blame,
	},
	{
		.words = "journal verify",
		.arguments = "DIR|FILE...",
		.summary = "whether journals and exports are whole",
		.text = "No daemon is asked.  DIR is a journal's directory, or one of many such as "
			"/var/lib/kvmattrd/vms; FILE is an export.  Everything is read and "
			"replayed, and each checkpoint compared with the log.  To be run as the "
			"user that the journals belong to.  Exit status 4: something is damaged; "
			"5: something cannot be read, and nothing is damaged.  A torn last write is "
			"what a crash leaves; it is no damage.",
		.n_least = 1,
		.n_most = COMMAND_MANY,
		.asks_nobody = true,
		.run = command_journal_verify,
	},
	{
		.words = "export",
		.arguments = "VM FILE",
		.summary = "a VM's whole policy into a new file",
		.options = COMMAND_AT,
		.n_least = 2,
		.n_most = 2,
		.run = command_export,
	},
	{
		.words = "import",
		.arguments = "VM FILE",
		.summary = "makes a VM's policy what was exported",
		.text = "The VM has to have the same RAM as the one that was exported, and a view "
			"for each of its VTLs.  What it had imposed before is reset: on a terminal "
			"it says so and asks first.  Whoever imports is an operator, and sees to it "
			"that no agent is at work meanwhile.",
		.options = COMMAND_SURE,
		.n_least = 2,
		.n_most = 2,
		.run = command_import,
	},
	{
		.words = "rpc",
		.arguments = "METHOD [JSON]",
		.summary = "one call of the control socket, as it is",
		.text = "JSON are the parameters, an object or an array: kvmattrctl rpc map.explain "
			"'{\"vm\": \"demo\", \"gpa\": \"0x1f000\"}'.  rpc.methods lists all methods.",
		.n_least = 1,
		.n_most = 2,
		.run = command_rpc,
	},
	{
		.words = "ping",
		.summary = "whether the daemon answers, and how fast",
		.run = command_ping,
	},
	{
		.words = "complete",
		.arguments = "[WORD...]",
		.summary = "what a command line may go on with",
		.text = "The words are those behind kvmattrctl on a command line (write -- before "
			"them); the last is the one to complete.  Each line of the answer is a "
			"word, and behind a tab what it is.",
		.n_most = COMMAND_MANY,
		.run = command_complete,
	},
	{ .words = NULL },
};

const struct command *command_find(const char *first, const char *last)
{
	size_t length = first ? strlen(first) : 0;

	for (const struct command *command = commands; command->words; command++) {
		const char *space = strchr(command->words, ' ');

		if (!first && !strcmp(command->words, last))
			return command;
		if (first && space && length == (size_t)(space - command->words) &&
		    !strncmp(command->words, first, length) && !strcmp(space + 1, last))
			return command;
	}
	return NULL;
}
