/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/kvmattrctl-command.h"

#include <stddef.h>

static const char explain_text[] =
	"Says in a few lines what a VTL may do with one page, which layer denies the rest and why, "
	"where the intercept goes, and whether KVM enforces it already.  GPA is any address in the "
	"page: 0x1f000, 4096, 512M.";

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
		.words = "map show",
		.arguments = "VM",
		.summary = "a picture of guest memory by protection",
		.text = "Draws what a VTL may do with its memory.  Each cell is a part of the address "
			"space.  Its colour, or its letter where there is no colour, is the "
			"protection that restricts most pages of the cell; how full it is says how "
			"much of the cell is restricted at all.  Zoom with --from and --to, or with "
			"--depth: each step draws twice as many rows.",
		.options = COMMAND_VTL | COMMAND_RANGE | COMMAND_ZOOM,
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
	{ .words = NULL },
};
