/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"

#include "client/simvm-options.h"

#include <argp.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

__attribute__((visibility("default"))) const char *argp_program_version =
	"kvmattr-simvm " PACKAGE_VERSION;

enum {
	OPTION_SOCKET = 0x100,
	OPTION_NAME,
	OPTION_RAM,
	OPTION_VIEWS,
	OPTION_ABI,
	OPTION_PIN,
	OPTION_TRACE,
	OPTION_PAGES,
	OPTION_AGENTS,
	OPTION_SEED,
	OPTION_PIPELINE,
	OPTION_FAULT,
	OPTION_STAY,
	OPTION_JSON,
	OPTION_PROGRESS,
};

static const struct argp_option option_table[] = {
	{ NULL, 0, NULL, 0, "The daemon:", 1 },
	{ "socket", OPTION_SOCKET, "PATH", 0, "its agent socket", 0 },
	{ "runtime-dir", 'r', "DIR", 0, "the directory of its sockets", 0 },
	{ NULL, 0, NULL, 0, "The VM:", 2 },
	{ "name", OPTION_NAME, "VM", 0, "its name (simvm)", 0 },
	{ "ram", OPTION_RAM, "SIZE", 0, "its RAM, with K, M, G or T (64G)", 0 },
	{ "views", OPTION_VIEWS, "N", 0, "one for each VTL from 0 on (2)", 0 },
	{ "abi", OPTION_ABI, "ABI", 0,
	  "what its KVM speaks: mainline, deny, v10, v10na, or none, as the default type of VM (deny)",
	  0 },
	{ "pin", OPTION_PIN, "ABI", 0, "the only dialect that is acceptable", 0 },
	{ "fault", OPTION_FAULT, "LIST", 0,
	  "what goes wrong in KVM: enomem@N, eagain@N, einval@N (N: the N-th call; N:M: M calls from "
	  "there on), dead@N (no answer any more; N:MS: for so long), exit@N (the VMM is killed in "
	  "the middle of that call), partial=PAGES (at most so many by a v10 call), slow=USEC",
	  0 },
	{ NULL, 0, NULL, 0, "What happens to it:", 3 },
	{ "trace", OPTION_TRACE, "TRACE", 0, "boot, or none (boot)", 0 },
	{ "pages", OPTION_PAGES, "N", 0, "protections of a page in the trace (300000)", 0 },
	{ "agents", OPTION_AGENTS, "N", 0, "processes that send them (4)", 0 },
	{ "seed", OPTION_SEED, "N", 0, "the trace's (1)", 0 },
	{ "pipeline", OPTION_PIPELINE, "N", 0,
	  "at most so many updates of an agent under way (as many as the daemon takes)", 0 },
	{ "stay", OPTION_STAY, NULL, 0, "keep the VM registered until interrupted", 0 },
	{ NULL, 0, NULL, 0, "What is shown:", 4 },
	{ "json", OPTION_JSON, NULL, 0, "the report, for programs", 0 },
	{ "progress", OPTION_PROGRESS, "WHEN", 0, "auto, always or never (auto: on a terminal)",
	  0 },
	{ "quiet", 'q', NULL, 0, "errors, and the report's last line", 0 },
	{ NULL, 0, NULL, 0, NULL, 0 },
};

/* A decimal number up to max, and where it ends. */
static bool parse_number(const char *text, uint64_t max, uint64_t *ret, const char **ret_end)
{
	unsigned long long number;
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno || number > max)
		return false;
	*ret = number;
	*ret_end = end;
	return true;
}

static uint64_t count_option(const char *option, const char *text, uint64_t min, uint64_t max,
			     struct argp_state *state)
{
	uint64_t number = 0;
	const char *end;

	if (!parse_number(text, max, &number, &end) || *end || number < min)
		argp_error(state, "--%s takes a number from %" PRIu64 " to %" PRIu64 ", not '%s'",
			   option, min, max, text);
	return number;
}

/* Whole pages of RAM, at most as many as a guest's physical addresses reach. */
static uint64_t ram_option(const char *text, struct argp_state *state)
{
	static const char units[] = "KMGT";
	const uint64_t max = KVMATTR_GFN_LIMIT << KVMATTR_PAGE_SHIFT;
	uint64_t size = 0;
	const char *end = text;
	const char *unit;
	bool is_good = parse_number(text, max, &size, &end);

	if (is_good && *end && (unit = strchr(units, toupper((unsigned char)*end)))) {
		unsigned int shift = 10 * (unsigned int)(unit - units + 1);

		is_good = size <= max >> shift;
		size <<= shift;
		end++;
	}
	if (!is_good || *end || !size || size % KVMATTR_PAGE_SIZE)
		argp_error(state, "--ram takes a multiple of 4K, such as 512M or 64G, not '%s'",
			   text);
	return size;
}

static enum kvmattr_abi abi_option(const char *option, const char *text, const char *instead,
				   struct argp_state *state)
{
	int abi = kvmattr_abi_from_name(text);

	if (!strcmp(text, instead))
		return KVMATTR_ABI_PROBE; /* as an ABI: SIMVM_ABI_NONE */
	if (abi <= 0)
		argp_error(state, "--%s takes mainline, deny, v10, v10na or %s, not '%s'", option,
			   instead, text);
	return abi > 0 ? (enum kvmattr_abi)abi : KVMATTR_ABI_PROBE;
}

static unsigned int choice_option(const char *option, const char *text, const char *const *choices,
				  struct argp_state *state)
{
	for (unsigned int i = 0; choices[i]; i++)
		if (!strcmp(text, choices[i]))
			return i;
	argp_error(state, "--%s does not know '%s'; see --help", option, text);
	return 0;
}

static error_t check_options(const struct simvm_options *options, struct argp_state *state)
{
	if (options->socket && options->runtime_dir)
		argp_error(state, "--socket and --runtime-dir both say where the daemon is: "
				  "give one of them");
	if (options->faults.partial_pages && options->abi != KVMATTR_ABI_V10 &&
	    options->abi != KVMATTR_ABI_V10NA)
		argp_error(state, "--fault partial=PAGES is for --abi v10 and v10na: the upstream "
				  "call is done whole or not at all");
	return 0;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
	static const char *const traces[] = { "none", "boot", NULL };
	static const char *const progresses[] = { "auto", "always", "never", NULL };
	struct simvm_options *options = state->input;
	char text[256];

	switch (key) {
	case OPTION_SOCKET:
		options->socket = argument;
		break;
	case 'r':
		options->runtime_dir = argument;
		break;
	case OPTION_NAME:
		options->name = argument;
		break;
	case OPTION_RAM:
		options->ram_bytes = ram_option(argument, state);
		break;
	case OPTION_VIEWS:
		options->n_views = count_option("views", argument, 1, KVMATTR_N_VTLS, state);
		break;
	case OPTION_ABI:
		options->abi = abi_option("abi", argument, "none", state);
		break;
	case OPTION_PIN:
		options->pin = abi_option("pin", argument, "probe", state);
		break;
	case OPTION_TRACE:
		options->has_trace = choice_option("trace", argument, traces, state) == 1;
		break;
	case OPTION_PAGES:
		options->n_pages = count_option("pages", argument, 1, KVMATTR_GFN_LIMIT / 4, state);
		break;
	case OPTION_AGENTS:
		options->n_agents = count_option("agents", argument, 1, 4096, state);
		break;
	case OPTION_SEED:
		options->seed = count_option("seed", argument, 0, UINT64_MAX, state);
		break;
	case OPTION_PIPELINE:
		options->pipeline = count_option("pipeline", argument, 1, 1u << 20, state);
		break;
	case OPTION_FAULT:
		if (simvm_faults_parse(argument, &options->faults, text, sizeof(text)) < 0)
			argp_error(state, "--fault: %s", text);
		break;
	case OPTION_STAY:
		options->stay = true;
		break;
	case OPTION_JSON:
		options->json = true;
		break;
	case OPTION_PROGRESS:
		options->progress = (enum simvm_progress_when)choice_option("progress", argument,
									    progresses, state);
		break;
	case 'q':
		options->quiet = true;
		break;
	case ARGP_KEY_ARG:
		argp_error(state, "'%s' is one word too many", argument);
		break;
	case ARGP_KEY_END:
		return check_options(options, state);
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

void simvm_options_parse(int argc, char **argv, struct simvm_options *ret)
{
	static const struct argp argp = {
		.options = option_table,
		.parser = parse_option,
		.doc = "A virtual machine monitor without KVM: registers a VM with kvmattrd, plays the "
		       "boot of a guest that uses virtual trust levels, and compares what a simulated "
		       "KVM holds with what the daemon says, page by page.\v"
		       "The last line is `0 pages differ`, and the exit status 0, if all is well; "
		       "1 if not; 64 if the command line is wrong.",
	};

	*ret = (struct simvm_options){
		.name = "simvm",
		.ram_bytes = UINT64_C(64) << 30,
		.n_views = 2,
		.abi = KVMATTR_ABI_DENY,
		.pin = KVMATTR_ABI_PROBE,
		.has_trace = true,
		.n_pages = 300000,
		.n_agents = 4,
		.seed = 1,
	};
	argp_parse(&argp, argc, argv, 0, NULL, ret);
}
