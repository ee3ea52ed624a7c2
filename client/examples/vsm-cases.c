/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The questions, and their order: see vsm-cases.h. */
#include "vsm-cases.h"

#include "vsm-check.h"
#include "vsm-statistics.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* Pages that the cases use, all of them in RAM and away from the guests' code. */
#define LONE_GFN      UINT64_C(0x401)
#define LIST_GFN      UINT64_C(0x600)
#define RANGE_GFN     UINT64_C(0x7ff) /* neither end is aligned to a huge page */
#define RANGE_PAGES   UINT64_C(3001)
#define PRIVATE_GFN   UINT64_C(0x1c05)
#define PARTIAL_GFN   UINT64_C(0x1d00)
#define COUNTER_GFN   UINT64_C(0x1e07)
#define DEFAULT_GFN   UINT64_C(0x2345)
#define HISTORY_GFN   UINT64_C(0x3000)
#define HISTORY_PAGES 64u

/* Every protection, each after a stricter and a laxer one; what is refused leaves what was. */
static void case_protections(struct check *check)
{
	static const unsigned int order[] = {
		KVMATTR_RX, KVMATTR_NONE, KVMATTR_R,  KVMATTR_RW,  KVMATTR_NONE,
		KVMATTR_RX, KVMATTR_RWX,  KVMATTR_RW, KVMATTR_RWX,
	};
	const char *before = "rwx";
	char label[CHECK_LABEL_SIZE];

	for (size_t i = 0; i < sizeof(order) / sizeof(*order); i++) {
		const char *name = kvmattr_protection_name(order[i]);

		check_label(check, label, "%s after %s", name, before);
		if (check_ask_pages(check, label, order[i], LONE_GFN, 1, 1) == KVMATTR_OK)
			before = name;
		else
			check_label(check, label, "%s refused, %s stays", name, before);
		check_page(check, label, LONE_GFN);
		check_label(check, label, "beside %s", name);
		CHECK_PAGES(check, label, LONE_GFN - 1, LONE_GFN + 1);
	}
}

static void case_page_list(struct check *check)
{
	char label[CHECK_LABEL_SIZE];

	check_label(check, label, "r on every other of 512 pages");
	check_ask_pages(check, label, KVMATTR_R, LIST_GFN, 256, 2);
	CHECK_PAGES(check, label, LIST_GFN, LIST_GFN + 1, LIST_GFN + 254, LIST_GFN + 255,
		    LIST_GFN + 510, LIST_GFN + 511);
	check_label(check, label, "rx on 400 pages of them");
	check_ask_pages(check, label, KVMATTR_RX, LIST_GFN + 50, 400, 1);
	CHECK_PAGES(check, label, LIST_GFN + 48, LIST_GFN + 49, LIST_GFN + 50, LIST_GFN + 51,
		    LIST_GFN + 449, LIST_GFN + 450);
}

static void case_range(struct check *check)
{
	uint64_t last = RANGE_GFN + RANGE_PAGES - 1, inner = RANGE_GFN + 1000;
	char label[CHECK_LABEL_SIZE];

	check_label(check, label, "rx on a range of 3001 pages");
	check_ask_range(check, label, KVMATTR_PROTECT, KVMATTR_RX, RANGE_GFN, RANGE_PAGES);
	CHECK_PAGES(check, label, RANGE_GFN - 1, RANGE_GFN, RANGE_GFN + 1, inner, last, last + 1);
	check_page(check, label, inner);
	check_label(check, label, "rw on 1024 pages inside it");
	check_ask_range(check, label, KVMATTR_PROTECT, KVMATTR_RW, inner, 1024);
	CHECK_PAGES(check, label, inner - 1, inner, inner + 1023, inner + 1024);
	check_label(check, label, "rwx on all of it");
	check_ask_range(check, label, KVMATTR_PROTECT, KVMATTR_RWX, RANGE_GFN, RANGE_PAGES);
	CHECK_PAGES(check, label, RANGE_GFN, inner, last);
}

static void case_edges_of_ram(struct check *check)
{
	uint64_t last = check->model.n_pages - 1;
	char label[CHECK_LABEL_SIZE];

	check_label(check, label, "r on the first page of RAM");
	check_ask_range(check, label, KVMATTR_PROTECT, KVMATTR_R, 0, 1);
	check_page(check, label, 0);
	check_label(check, label, "r on the last page of RAM");
	check_ask_range(check, label, KVMATTR_PROTECT, KVMATTR_R, last, 1);
	check_page(check, label, last);
	check_label(check, label, "rwx on all RAM");
	check_ask_range(check, label, KVMATTR_PROTECT, KVMATTR_RWX, 0, check->model.n_pages);
	CHECK_PAGES(check, label, 0, last);
}

static void case_visibility(struct check *check)
{
	char label[CHECK_LABEL_SIZE];

	check_label(check, label, "private");
	check_ask_range(check, label, KVMATTR_SET_VISIBILITY, 1, PRIVATE_GFN, 3);
	check_page(check, label, PRIVATE_GFN);
	CHECK_PAGES(check, label, PRIVATE_GFN - 1, PRIVATE_GFN + 2, PRIVATE_GFN + 3);
	check_label(check, label, "rx on a private page");
	check_ask_pages(check, label, KVMATTR_RX, PRIVATE_GFN + 1, 1, 1);
	check_label(check, label, "rx refused, private stays");
	check_page(check, label, PRIVATE_GFN + 1);
	check_label(check, label, "none on a private page");
	check_ask_pages(check, label, KVMATTR_NONE, PRIVATE_GFN + 1, 1, 1);
	check_label(check, label, "back to shared");
	check_ask_range(check, label, KVMATTR_SET_VISIBILITY, 0, PRIVATE_GFN, 3);
	check_page(check, label, PRIVATE_GFN);
	check_page(check, label, PRIVATE_GFN + 1);

	check_label(check, label, "rx before private");
	if (check_ask_pages(check, label, KVMATTR_RX, PRIVATE_GFN, 1, 1) == KVMATTR_OK) {
		check_label(check, label, "private on an rx page");
		check_ask_range(check, label, KVMATTR_SET_VISIBILITY, 1, PRIVATE_GFN, 2);
		check_label(check, label, "private refused, rx stays");
		check_page(check, label, PRIVATE_GFN);
		check_page(check, label, PRIVATE_GFN + 1);
	}
}

/* A list that is refused half-way: what comes before stands, the rest is untouched. */
static void case_partial_list(struct check *check)
{
	char label[CHECK_LABEL_SIZE];

	check_label(check, label, "private in the middle of a list");
	check_ask_range(check, label, KVMATTR_SET_VISIBILITY, 1, PARTIAL_GFN + 2, 1);
	check_label(check, label, "r on a list of 5 with a private page");
	check_ask_pages(check, label, KVMATTR_R, PARTIAL_GFN, 5, 1);
	CHECK_PAGES(check, label, PARTIAL_GFN, PARTIAL_GFN + 1, PARTIAL_GFN + 2, PARTIAL_GFN + 3,
		    PARTIAL_GFN + 4);
	check_label(check, label, "back to shared after the list");
	check_ask_range(check, label, KVMATTR_SET_VISIBILITY, 0, PARTIAL_GFN + 2, 1);
	check_page(check, label, PARTIAL_GFN + 2);
}

static void case_reset(struct check *check)
{
	char label[CHECK_LABEL_SIZE];

	check_label(check, label, "layer reset");
	check_ask_layer(check, label, KVMATTR_RESET_LAYER, 0);
	CHECK_PAGES(check, label, LIST_GFN, LIST_GFN + 60, PARTIAL_GFN, PRIVATE_GFN);
	check_label(check, label, "rx without a layer");
	check_ask_pages(check, label, KVMATTR_RX, LONE_GFN, 1, 1);
	check_page(check, label, LONE_GFN);
}

/* The layer is disabled at the beginning and at the end. */
static void case_default(struct check *check)
{
	static const unsigned int defaults[] = {
		KVMATTR_NONE, KVMATTR_R, KVMATTR_RX, KVMATTR_RW, KVMATTR_RWX,
	};
	char label[CHECK_LABEL_SIZE];

	for (size_t i = 0; i < sizeof(defaults) / sizeof(*defaults); i++) {
		const char *name = kvmattr_protection_name(defaults[i]);

		check_label(check, label, "default %s", name);
		if (check_ask_layer(check, label, KVMATTR_ENABLE_LAYER, defaults[i])) {
			check_label(check, label, "default %s refused", name);
			check_page(check, label, DEFAULT_GFN);
			continue;
		}
		check_label(check, label, "rx for the guest's code, default %s", name);
		if (check_ask_pages(check, label,
				    defaults[i] == KVMATTR_RWX ? KVMATTR_RWX : KVMATTR_RX,
				    GUEST_CODE_GFN, 1, 1) == KVMATTR_OK) {
			check_label(check, label, "default %s", name);
			check_page(check, label, DEFAULT_GFN);
			CHECK_PAGES(check, label, 0, check->model.n_pages - 1);
			check_label(check, label, "rwx over default %s", name);
			check_ask_pages(check, label, KVMATTR_RWX, DEFAULT_GFN, 1, 1);
			check_page(check, label, DEFAULT_GFN);
			CHECK_PAGES(check, label, DEFAULT_GFN + 1);
		}
		check_label(check, label, "reset of default %s", name);
		check_ask_layer(check, label, KVMATTR_RESET_LAYER, 0);
		CHECK_PAGES(check, label, DEFAULT_GFN, DEFAULT_GFN + 1);
	}
}

/* Every page of RAM but one can have the default: the whole request is taken back. */
static void case_default_refused_for_one_page(struct check *check)
{
	char label[CHECK_LABEL_SIZE];

	check_label(check, label, "private before a default");
	check_ask_range(check, label, KVMATTR_SET_VISIBILITY, 1, DEFAULT_GFN, 1);
	check_label(check, label, "default rx with a private page");
	check_ask_layer(check, label, KVMATTR_ENABLE_LAYER, KVMATTR_RX);
	CHECK_PAGES(check, label, 0, DEFAULT_GFN - 1, DEFAULT_GFN, DEFAULT_GFN + 1,
		    check->model.n_pages - 1);
	check_label(check, label, "back to shared after a default");
	check_ask_range(check, label, KVMATTR_SET_VISIBILITY, 0, DEFAULT_GFN, 1);
}

/* An answer means "in force on every vCPU", also on one that is in the middle of it. */
static void case_running_vcpu(struct check *check)
{
	struct guest *guest = check->vmm->vtl[0];
	bool is_mainline = check->model.abi == KVMATTR_ABI_MAINLINE;
	struct guest_outcome outcome, wanted;
	uint32_t at_answer, later;
	char label[CHECK_LABEL_SIZE], seen[CHECK_TEXT_SIZE];

	if (guest_start_counter(guest, COUNTER_GFN << KVMATTR_PAGE_SHIFT))
		check_bail_out("running vCPU", -1, "no thread for the vCPU");
	for (unsigned int ms = 0; guest_read_counter(guest) < 1000 && ms < 5000; ms++)
		usleep(1000);
	check_label(check, label, "%s under a running vCPU", is_mainline ? "private" : "rx");
	if (is_mainline)
		check_ask_range(check, label, KVMATTR_SET_VISIBILITY, 1, COUNTER_GFN, 1);
	else
		check_ask_range(check, label, KVMATTR_PROTECT, KVMATTR_RX, COUNTER_GFN, 1);
	at_answer = guest_read_counter(guest);
	usleep(20000);
	later = guest_read_counter(guest);
	outcome = guest_finish_counter(guest, 5);
	/*
	 * An access that KVM had begun to serve when the page became private is stopped, too, but
	 * the exit calls it shared (kvm_mmu_faultin_pfn()); and where reading is denied as well,
	 * either half of the instruction may be the one that is stopped.
	 */
	wanted = check_expect(check, 0, COUNTER_GFN, is_mainline ? outcome.access : KVMATTR_WRITE);
	if (is_mainline)
		wanted.is_private = outcome.is_private;
	check_describe(&outcome, seen);
	check_report(
		at_answer >= 1000 && later == at_answer && check_same_outcome(&outcome, &wanted),
		label,
		"it had counted to %" PRIu32 " at the answer, to %" PRIu32 " later, and was %s",
		at_answer, later, seen);
	if (is_mainline)
		check_ask_range(check, label, KVMATTR_SET_VISIBILITY, 0, COUNTER_GFN, 1);
}

/* Knuth's multiplicative generator (MMIX): the same history on every machine. */
static unsigned int draw(uint64_t *state, unsigned int below)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned int)((*state >> 33) % below);
}

static void case_history(struct check *check)
{
	static const unsigned int protections[] = {
		KVMATTR_NONE, KVMATTR_R, KVMATTR_RX, KVMATTR_RW, KVMATTR_RWX,
	};
	uint64_t state = 1;
	char label[CHECK_LABEL_SIZE];

	for (unsigned int step = 1; step <= 40; step++) {
		unsigned int first = draw(&state, HISTORY_PAGES);
		unsigned int n = 1 + draw(&state, HISTORY_PAGES - first);
		unsigned int what = draw(&state, 8);
		uint64_t gfn = HISTORY_GFN + first;

		if (what < 5) {
			check_label(check, label, "history %u, %s on %u", step,
				    kvmattr_protection_name(protections[what]), n);
			check_ask_range(check, label, KVMATTR_PROTECT, protections[what], gfn, n);
		} else if (what == 5) {
			check_label(check, label, "history %u, rx in a list of %u", step, n);
			check_ask_pages(check, label, KVMATTR_RX, gfn, n, 1);
		} else {
			check_label(check, label, "history %u, %s on %u", step,
				    what == 6 ? "private" : "shared", n);
			check_ask_range(check, label, KVMATTR_SET_VISIBILITY, what == 6, gfn, n);
		}
		check_access(check, label, 0, HISTORY_GFN + draw(&state, HISTORY_PAGES),
			     check_accesses[draw(&state, CHECK_N_ACCESSES)]);
		check_access(check, label, 0, gfn, check_accesses[draw(&state, CHECK_N_ACCESSES)]);
		check_access(check, label, 1, gfn + n - 1,
			     check_accesses[draw(&state, CHECK_N_ACCESSES)]);
	}
	check_label(check, label, "after the history");
	for (unsigned int i = 0; i < HISTORY_PAGES; i++)
		check_access(check, label, 0, HISTORY_GFN + i,
			     check_accesses[i % CHECK_N_ACCESSES]);
}

static void case_agent_gone(struct check *check)
{
	bool is_mainline = check->model.abi == KVMATTR_ABI_MAINLINE;
	char label[CHECK_LABEL_SIZE];

	check_label(check, label, "%s before the agent leaves", is_mainline ? "private" : "r");
	if (is_mainline)
		check_ask_range(check, label, KVMATTR_SET_VISIBILITY, 1, LONE_GFN, 1);
	else
		check_ask_range(check, label, KVMATTR_PROTECT, KVMATTR_R, LONE_GFN, 1);
	agent_stop(&check->vmm->agent);
	check_label(check, label, "%s after the agent has left", is_mainline ? "private" : "r");
	check_page(check, label, LONE_GFN);
}

static void check_registration(struct check *check, int expected_abi, const char *expected_executor)
{
	const struct kvmattr_registration *found = &check->vmm->registration;
	const char *place = found->executor_in_daemon ? "daemon" : "vmm";
	char label[CHECK_LABEL_SIZE];

	check_label(check, label, "registration");
	for (size_t i = 0; i < found->n_views; i++)
		check_report(expected_abi < 0 || (int)found->views[i].abi == expected_abi, label,
			     "VTL %u's KVM speaks %s, bits 0x%" PRIx64, found->views[i].vtl,
			     kvmattr_abi_name(found->views[i].abi), found->views[i].supported);
	check_report(found->n_views == VMM_N_VTLS, label, "%zu views", found->n_views);
	check_report(!expected_executor || !strcmp(expected_executor, place), label,
		     "the %s makes the calls", place);
}

/* How often KVM has been asked to flush all TLBs of VTL 0's VM, which each protection does. */
static uint64_t case_statistics(struct check *check, const char *when, uint64_t at_least)
{
	char label[CHECK_LABEL_SIZE];
	const char *wrong;
	uint64_t n = 0;

	if (!check->vmm->control_socket)
		return 0;
	check_label(check, label, "KVM's statistics %s", when);
	wrong = statistics_read(check->vmm->control_socket, check->vmm->name, 0,
				"remote_tlb_flush_requests", &n);
	check_report(!wrong && n >= at_least, label,
		     "remote_tlb_flush_requests is %" PRIu64 ", expected %" PRIu64 " or more%s%s",
		     n, at_least, wrong ? ": " : "", wrong ? wrong : "");
	return n;
}

void cases_run(struct vmm *vmm, int expected_abi, const char *expected_executor)
{
	struct check check = { .vmm = vmm };
	char label[CHECK_LABEL_SIZE];
	uint64_t n_flushes;
	int r = model_init(&check.model, vmm->registration.views[0].abi, vmm->ram.n_pages);

	if (r)
		check_bail_out("model", r, NULL);
	check_registration(&check, expected_abi, expected_executor);
	n_flushes = case_statistics(&check, "before any layer", 0);
	check_label(&check, label, "before any layer");
	check_page(&check, label, LONE_GFN);
	case_default(&check);
	case_default_refused_for_one_page(&check);
	check_label(&check, label, "layer with default rwx");
	check_ask_layer(&check, label, KVMATTR_ENABLE_LAYER, KVMATTR_RWX);
	check_page(&check, label, LONE_GFN);
	case_protections(&check);
	case_page_list(&check);
	case_range(&check);
	case_visibility(&check);
	case_partial_list(&check);
	for (unsigned int vtl = 0; vtl < VMM_N_VTLS; vtl++)
		check_map(&check, vtl);
	case_reset(&check);
	check_label(&check, label, "layer enabled again");
	check_ask_layer(&check, label, KVMATTR_ENABLE_LAYER, KVMATTR_RWX);
	case_edges_of_ram(&check);
	case_running_vcpu(&check);
	case_history(&check);
	for (unsigned int vtl = 0; vtl < VMM_N_VTLS; vtl++)
		check_map(&check, vtl);
	case_statistics(&check, "after all that", n_flushes + 1);
	case_agent_gone(&check);
	model_destroy(&check.model);
}

/* ---- What is refused at the registration ---------------------------------------------------- */

static void expect_refusal(const char *agent_socket, const char *label, const char *name,
			   const struct kvmattr_view *view, int expected_status,
			   const char *expected_word)
{
	struct kvmattr_ram ram = { .range = { .gfn = 0, .n_pages = 256 } };
	struct kvmattr_vm vm = {
		.name = name,
		.views = view,
		.n_views = 1,
		.ram = &ram,
		.n_ram = 1,
	};
	struct kvmattr *owner;
	int r = kvmattr_connect(agent_socket, "vsm-vmm", &owner);

	if (r)
		check_bail_out("no connection", r, kvmattr_message(NULL));
	r = kvmattr_register(owner, &vm, NULL);
	check_report(r == expected_status && strstr(kvmattr_message(owner), expected_word), label,
		     "%s (%s)", check_status_name(r), kvmattr_message(owner));
	kvmattr_close(owner);
}

void cases_refuse_ordinary_vm(const char *agent_socket, const char *name, const struct guest *guest)
{
	struct kvmattr_view view = { .vtl = 0, .fd = guest_fd(guest) };

	expect_refusal(agent_socket, "registration of a VM of KVM's default type", name, &view,
		       KVMATTR_UNSUPPORTED, "no memory attributes");
}

void cases_refuse_wrong_pin(const char *agent_socket, const char *name, const struct guest *guest,
			    int abi)
{
	struct kvmattr_view view = {
		.vtl = 0,
		.fd = guest_fd(guest),
		/* no kernel that a machine boots by itself speaks v10na */
		.pin = abi == KVMATTR_ABI_V10NA ? KVMATTR_ABI_DENY : KVMATTR_ABI_V10NA,
	};

	expect_refusal(agent_socket, "registration with another dialect pinned", name, &view,
		       KVMATTR_ABI_MISMATCH, "pinned");
}
