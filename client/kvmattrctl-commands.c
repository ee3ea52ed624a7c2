/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/kvmattrctl-command.h"

#include <stddef.h>

static const char explain_text[] =
	"Says in a few lines what a VTL may do with one page, which layer denies the rest and why, "
	"where the intercept goes, and whether KVM enforces it already.  GPA is any address in the "
	"page: 0x1f000, 4096, 512M.";

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
		.words = "map effective",
		.arguments = "VM",
		.summary = "what a VTL may do, as runs of pages",
		.options = COMMAND_VTL | COMMAND_RANGE,
		.n_least = 1,
		.n_most = 1,
		.run = command_map_effective,
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
	{
		.words = "map explain",
		.arguments = "VM GPA",
		.summary = "who allows and who denies access to a page",
		.text = explain_text,
		.options = COMMAND_VTL | COMMAND_ACCESS,
		.n_least = 2,
		.n_most = 2,
		.run = command_map_explain,
	},
	{
		.words = "explain",
		.arguments = "VM GPA",
		.summary = "the same, in short",
		.text = explain_text,
		.options = COMMAND_VTL | COMMAND_ACCESS,
		.n_least = 2,
		.n_most = 2,
		.run = command_map_explain,
	},
	{
		.words = "stats",
		.arguments = "[VM]",
		.summary = "updates, batches, calls and calls saved",
		.text = "Numbers since the registration of the VM.  Calls saved are those that it "
			"would have taken in addition had only the consecutive pages of each list "
			"been merged.",
		.n_most = 1,
		.run = command_stats,
	},
	{
		.words = "watch",
		.arguments = "[VM]",
		.summary = "the same as it happens, by the second, like top",
		.text = "q or ^C ends it.  VMs in trouble come first, then those with the most "
			"updates.  In a pipe it writes a line for each VM and interval; with --json, "
			"a JSON object for each interval, in one line.  When the daemon is "
			"restarted, it says so and goes on.",
		.options = COMMAND_WATCH,
		.n_most = 1,
		.run = command_watch,
	},
	{
		.words = "journal status",
		.arguments = "VM",
		.summary = "a VM's journal: how long, how far back, how it does",
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
		.arguments = "JOURNAL COMMIT [COMMIT]",
		.summary = "what changed between two commits",
		.text = JOURNAL_TEXT "  The second COMMIT is the last one if it is left out.",
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
		.summary = "whether journals and exports are whole; no daemon",
		.text = "DIR is a journal's directory, or one of many such as "
			"/var/lib/kvmattrd/vms; FILE is an export.  Everything is read and "
			"replayed, and each checkpoint compared with the log.  To be run as the "
			"user that the journals belong to.  Exit status 4: something is damaged; "
			"5: something cannot be read, and nothing is damaged.  A torn last write is "
			"what a crash leaves; it is no damage.",
		.n_least = 1,
		.n_most = COMMAND_MANY,
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
			"for each of its VTLs.  What it had imposed before is reset.  Whoever "
			"imports is root or the daemon's user, and sees to it that no agent is at "
			"work meanwhile.",
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
		.summary = "what a command line may go on with, for shells",
		.text = "The words are those behind kvmattrctl on a command line (write -- before "
			"them); the last is the one to complete.  Each line of the answer is a "
			"word, and behind a tab what it is.",
		.n_most = COMMAND_MANY,
		.run = command_complete,
	},
	{ .words = NULL },
};
