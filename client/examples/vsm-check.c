/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers compared with the model: see vsm-check.h. */
#include "vsm-check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- TAP ----------------------------------------------------------------------------------- */

static int n_reported, n_failed;

void check_report(bool is_ok, const char *label, const char *format, ...)
{
	va_list arguments;

	n_reported++;
	n_failed += !is_ok;
	printf("%s %d - %s: ", is_ok ? "ok" : "not ok", n_reported, label);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
}

void check_bail_out(const char *what, int r, const char *why)
{
	printf("Bail out! %s: %s\n", what, why && *why ? why : kvmattr_status_text(r));
	exit(EXIT_FAILURE);
}

int check_finish(void)
{
	printf("1..%d\n", n_reported);
	return n_failed;
}

void check_label(const struct check *check, char ret_label[CHECK_LABEL_SIZE], const char *format,
		 ...)
{
	va_list arguments;
	int n = snprintf(ret_label, CHECK_LABEL_SIZE, "%s %s ", kvmattr_abi_name(check->model.abi),
			 vmm_executor_name(check->vmm));

	va_start(arguments, format);
	vsnprintf(ret_label + n, CHECK_LABEL_SIZE - (size_t)n, format, arguments);
	va_end(arguments);
}

const char *check_status_name(int status)
{
	const char *name = kvmattr_status_name(status);

	return name ? name : kvmattr_status_text(status);
}

/* ---- What VTL 1 asks ------------------------------------------------------------------------ */

static int check_ask(struct check *check, const char *label, const struct agent_request *request)
{
	struct model_verdict wanted = model_apply(&check->model, request);
	struct agent_answer answer;
	int r = vmm_serve_hypercall(check->vmm, request, &answer);

	if (r)
		check_bail_out(label, r, kvmattr_message(check->vmm->owner));
	if (answer.status < 0)
		check_bail_out(label, answer.status, answer.text);
	if (answer.status != wanted.status || answer.n_in_force != wanted.n_in_force)
		check_report(false, label,
			     "expected %s with %" PRIu64 " in force, got %s with %" PRIu64 " (%s)",
			     check_status_name(wanted.status), wanted.n_in_force,
			     check_status_name(answer.status), answer.n_in_force, answer.text);
	else if (wanted.status)
		check_report(*answer.text, label, "refused, %s (%s)",
			     check_status_name(answer.status), answer.text);
	else
		check_report(true, label, "in force");
	return answer.status;
}

int check_ask_layer(struct check *check, const char *label, enum kvmattr_update_kind kind,
		    unsigned int protection)
{
	struct agent_request request = { .kind = (uint8_t)kind, .value = (uint8_t)protection };

	return check_ask(check, label, &request);
}

int check_ask_range(struct check *check, const char *label, enum kvmattr_update_kind kind,
		    unsigned int value, uint64_t gfn, uint64_t n_pages)
{
	struct agent_request request = {
		.kind = (uint8_t)kind,
		.value = (uint8_t)value,
		.n_ranges = 1,
		.ranges = { { .gfn = gfn, .n_pages = n_pages } },
	};

	return check_ask(check, label, &request);
}

int check_ask_pages(struct check *check, const char *label, unsigned int protection, uint64_t gfn,
		    unsigned int n, unsigned int stride)
{
	struct agent_request request = {
		.kind = KVMATTR_PROTECT,
		.value = (uint8_t)protection,
		.n_pages = (uint16_t)n,
	};

	for (unsigned int i = 0; i < n; i++)
		request.gfns[i] = gfn + (uint64_t)i * stride;
	return check_ask(check, label, &request);
}

/* ---- What a vCPU tries ----------------------------------------------------------------------- */

const unsigned int check_accesses[] = { KVMATTR_READ, KVMATTR_WRITE, KVMATTR_EXECUTE };

static const char *access_name(unsigned int access)
{
	switch (access) {
	case KVMATTR_READ:
		return "read";
	case KVMATTR_WRITE:
		return "write";
	case KVMATTR_EXECUTE:
		return "execute";
	default:
		return "?";
	}
}

static char access_letter(unsigned int access)
{
	return access == KVMATTR_EXECUTE ? 'x' : *access_name(access);
}

void check_describe(const struct guest_outcome *outcome, char text[CHECK_TEXT_SIZE])
{
	if (outcome->result == GUEST_ALLOWED)
		snprintf(text, CHECK_TEXT_SIZE, "allowed");
	else if (outcome->result == GUEST_ASTRAY)
		snprintf(text, CHECK_TEXT_SIZE, "%s", outcome->text);
	else
		snprintf(text, CHECK_TEXT_SIZE, "stopped at 0x%" PRIx64 " (%c%s)", outcome->gpa,
			 access_letter(outcome->access), outcome->is_private ? ", private" : "");
}

struct guest_outcome check_expect(const struct check *check, unsigned int vtl, uint64_t gfn,
				  unsigned int access)
{
	uint8_t attributes = model_attributes(&check->model, vtl, gfn);

	/* These guests have no private memory, so KVM stops every access to a private page. */
	if ((attributes & access) == access && !(attributes & KVMATTR_PRIVATE))
		return (struct guest_outcome){ .result = GUEST_ALLOWED };
	return (struct guest_outcome){
		.result = GUEST_STOPPED,
		.gpa = gfn << KVMATTR_PAGE_SHIFT,
		.access = access,
		.is_private = attributes & KVMATTR_PRIVATE,
	};
}

bool check_same_outcome(const struct guest_outcome *a, const struct guest_outcome *b)
{
	return a->result == b->result && a->result != GUEST_ASTRAY && a->gpa == b->gpa &&
	       a->access == b->access && a->is_private == b->is_private;
}

/*
 * What a VMM does when its guest was stopped: asks who denies it, which is where the intercept
 * goes.  Puts that into text; returns whether it is what the model says.
 */
static bool check_explain(struct check *check, unsigned int vtl, uint64_t gfn, unsigned int access,
			  char text[CHECK_TEXT_SIZE])
{
	uint8_t attributes = model_attributes(&check->model, vtl, gfn);
	bool is_denied = (attributes & access) != access;
	struct kvmattr_explanation e;
	int r = kvmattr_explain(check->vmm->owner, vtl, gfn, access, &e);

	if (r)
		check_bail_out("explain", r, kvmattr_message(check->vmm->owner));
	if (!e.allowed)
		snprintf(text, CHECK_TEXT_SIZE, ", intercept to VTL %u", e.layer);
	else
		snprintf(text, CHECK_TEXT_SIZE, "%s",
			 e.attributes & KVMATTR_PRIVATE ? ", no layer denies it" : "");
	if (!e.allowed == is_denied && e.layer == (is_denied ? 1 : 0) &&
	    e.denying == (is_denied ? 1u << 1 : 0) && e.attributes == attributes &&
	    e.state == KVMATTR_IN_FORCE)
		return true;
	snprintf(text, CHECK_TEXT_SIZE,
		 ", but the daemon explains: %s, layer %u of set 0x%x, attributes 0x%x, state %d",
		 e.allowed ? "allowed" : "denied", e.layer, e.denying, e.attributes, (int)e.state);
	return false;
}

void check_access(struct check *check, const char *label, unsigned int vtl, uint64_t gfn,
		  unsigned int access)
{
	/* Somewhere in the page, behind the code that the code page has. */
	uint64_t gpa = (gfn << KVMATTR_PAGE_SHIFT) + 0x800 + gfn % 0x400;
	struct guest_outcome wanted = check_expect(check, vtl, gfn, access);
	struct guest_outcome outcome = guest_try(check->vmm->vtl[vtl], access, gpa);
	char line[CHECK_LABEL_SIZE + 64], seen[CHECK_TEXT_SIZE], hoped[CHECK_TEXT_SIZE];
	char explained[CHECK_TEXT_SIZE];
	bool is_explained = check_explain(check, vtl, gfn, access, explained);

	check_describe(&outcome, seen);
	check_describe(&wanted, hoped);
	snprintf(line, sizeof(line), "%s, %s of 0x%" PRIx64 "%s", label, access_name(access), gpa,
		 vtl ? " by VTL 1" : "");
	if (check_same_outcome(&outcome, &wanted))
		check_report(is_explained, line, "%s%s", seen, explained);
	else
		check_report(false, line, "expected %s, got %s%s", hoped, seen, explained);
}

void check_page(struct check *check, const char *label, uint64_t gfn)
{
	for (unsigned int vtl = 0; vtl < VMM_N_VTLS; vtl++)
		for (unsigned int i = 0; i < CHECK_N_ACCESSES; i++)
			check_access(check, label, vtl, gfn, check_accesses[i]);
}

void check_pages(struct check *check, const char *label, const uint64_t *gfns, size_t n)
{
	for (size_t p = 0; p < n; p++)
		for (unsigned int i = 0; i < CHECK_N_ACCESSES; i++)
			check_access(check, label, 0, gfns[p], check_accesses[i]);
}

static uint64_t count_differences(const struct check *check, unsigned int vtl,
				  const struct kvmattr_run *run)
{
	uint64_t n = 0;

	for (uint64_t p = 0; p < run->range.n_pages; p++)
		n += run->state != KVMATTR_IN_FORCE ||
		     run->attributes != model_attributes(&check->model, vtl, run->range.gfn + p);
	return n;
}

void check_map(struct check *check, unsigned int vtl)
{
	uint64_t gfn = 0, end = check->model.n_pages, n_told = 0, n_different = 0;
	struct kvmattr_run runs[64];
	char label[CHECK_LABEL_SIZE];
	size_t n;

	while (gfn < end) {
		struct kvmattr_range rest = { .gfn = gfn, .n_pages = end - gfn };
		int r = kvmattr_query(check->vmm->owner, vtl, rest, runs, 64, &n, &gfn);

		if (r)
			check_bail_out("query", r, kvmattr_message(check->vmm->owner));
		for (size_t i = 0; i < n; i++) {
			n_different += count_differences(check, vtl, &runs[i]);
			n_told += runs[i].range.n_pages;
		}
	}
	check_label(check, label, "map of VTL %u", vtl);
	check_report(!n_different && n_told == end, label,
		     "%" PRIu64 " of %" PRIu64 " pages differ from the model", n_different, n_told);
}
