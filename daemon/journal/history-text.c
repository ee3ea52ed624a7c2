/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "history-text.h"

#include "daemon/policy/elements.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A line that is being written; what does not fit is cut. */
struct line {
	char *text;
	size_t size;
	size_t n;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *line, const char *format, ...)
{
	va_list arguments;
	int n;

	va_start(arguments, format);
	n = vsnprintf(line->text + line->n, line->size - line->n, format, arguments);
	va_end(arguments);
	if (n > 0)
		line->n = (size_t)n < line->size - line->n ? line->n + (size_t)n : line->size - 1;
}

static struct line begin(char *text, size_t size)
{
	*text = '\0';
	return (struct line){ text, size, 0 };
}

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

const char *history_kind_name(unsigned int kind)
{
	static const char *const names[KVMATTR_N_UPDATE_KINDS] = {
		[KVMATTR_PROTECT] = "protect",
		[KVMATTR_SET_VISIBILITY] = "set-visibility",
		[KVMATTR_LOCK] = "lock",
		[KVMATTR_UNLOCK] = "unlock",
		[KVMATTR_ADD_RAM] = "add-ram",
		[KVMATTR_REMOVE_RAM] = "remove-ram",
		[KVMATTR_ENABLE_LAYER] = "enable-layer",
		[KVMATTR_RESET_LAYER] = "reset-layer",
		[KVMATTR_RESET_VM] = "reset-vm",
	};

	return kind < KVMATTR_N_UPDATE_KINDS && names[kind] ? names[kind] : "unknown";
}

/* "12 pages in 3 runs from 0x1f000" */
static void add_pages(struct line *line, struct elements elements)
{
	uint64_t n_pages = 0, n_runs = 0, first = 0, next = 0;

	for (uint32_t i = 0, n; i < elements.n; i += n) {
		struct kvmattr_range range = elements_run(elements, i, elements.n - i, &n);

		if (!i)
			first = range.gfn;
		n_runs += !i || range.gfn != next;
		next = range.gfn + range.n_pages;
		n_pages += range.n_pages;
	}
	if (!elements.n) {
		add(line, "no page");
		return;
	}
	add(line, "%" PRIu64 " page%s", n_pages, plural(n_pages));
	if (n_runs > 1)
		add(line, " in %" PRIu64 " runs", n_runs);
	add(line, " from 0x%" PRIx64, first << KVMATTR_PAGE_SHIFT);
}

static void add_vtls(struct line *line, unsigned int layer, unsigned int set)
{
	const char *separator = "";

	if (set == KVMATTR_ALL_LOWER || set == (1u << layer) - 1) {
		add(line, layer == 1 ? "VTL 0" : "every VTL below");
		return;
	}
	add(line, "VTL ");
	for (unsigned int t = 0; t < KVMATTR_N_VTLS; t++) {
		if (!(set >> t & 1))
			continue;
		add(line, "%s%u", separator, t);
		separator = ", ";
	}
}

static const char *protection_name(uint8_t value)
{
	return value <= KVMATTR_PROTECTION ? kvmattr_protection_name(value) : "what is none";
}

static void add_update(struct line *line, const struct wire_update *update,
		       struct elements elements)
{
	switch (update->kind) {
	case KVMATTR_PROTECT:
		add(line, "layer %u allows ", update->layer);
		add_vtls(line, update->layer, update->restricted);
		add(line, " %s on ", protection_name(update->value));
		add_pages(line, elements);
		break;
	case KVMATTR_SET_VISIBILITY:
		add_pages(line, elements);
		add(line, " made %s", update->value ? "private" : "shared");
		break;
	case KVMATTR_LOCK:
	case KVMATTR_UNLOCK:
		add_pages(line, elements);
		add(line, update->kind == KVMATTR_LOCK ? " locked" : " unlocked");
		break;
	case KVMATTR_ADD_RAM:
		add_pages(line, elements);
		add(line, " became RAM%s", update->value ? ", private" : "");
		break;
	case KVMATTR_REMOVE_RAM:
		add_pages(line, elements);
		add(line, " no longer RAM");
		break;
	case KVMATTR_ENABLE_LAYER:
		add(line, "layer %u enabled, %s by default, %s MBEC", update->layer,
		    protection_name(update->value), update->mbec ? "with" : "without");
		break;
	case KVMATTR_RESET_LAYER:
		add(line, "layer %u reset", update->layer);
		break;
	default:
		add(line, "the VM reset");
	}
}

void history_describe_part(const struct vm_record_part *part, const char *refusal,
			   const uint8_t *elements, char *ret_text, size_t size)
{
	const char *status = kvmattr_status_name((int)part->status);
	struct line line = begin(ret_text, size);

	if (part->n || part->update.form != WIRE_FORM_NONE)
		add_update(&line, &part->update,
			   (struct elements){ .bytes = elements,
					      .n = part->update.n_elements,
					      .form = part->update.form });
	else
		add(&line, "%s", history_kind_name(part->update.kind));
	if (part->n && part->n != part->n_total)
		add(&line, " (elements %" PRIu32 " to %" PRIu32 " of %" PRIu32 ")", part->first + 1,
		    part->first + part->n, part->n_total);
	if (part->flags & VM_RECORD_BY_OPERATOR)
		add(&line, ", asked for by an operator");
	if (part->status)
		add(&line, "; %s refused: %s: %.*s",
		    part->update.form == WIRE_FORM_NONE ? "it was" : "the next was",
		    status ? status : "unknown", (int)part->text_size, refusal);
}

void history_describe_session(const struct vm_record_session *session, char *ret_text, size_t size)
{
	struct line line = begin(ret_text, size);

	if (session->role == WIRE_ROLE_OWNER)
		add(&line, "the owner");
	else
		add(&line, "an agent of VTL %u", session->vtl);
	if (session->rights & WIRE_RIGHT_VISIBILITY)
		add(&line, " that may change visibility");
	if (*session->peer)
		add(&line, ": %s, process %" PRId32, session->peer, session->pid);
	else
		add(&line, ", who has not said hello; opened by process %" PRId32, session->pid);
	add(&line, " of user %" PRIu32, session->uid);
}

void history_describe_failure(const struct wire_failure *failure, char *ret_text, size_t size)
{
	const char *status = kvmattr_status_name((int)failure->status);
	struct line line = begin(ret_text, size);

	add(&line, "update %" PRIu64 " refused: %s: %s", failure->seqno,
	    status ? status : "unknown", failure->text);
	if (failure->n_in_force)
		add(&line, "; its first %" PRIu32 " element%s in force", failure->n_in_force,
		    failure->n_in_force == 1 ? " is" : "s are");
}

void history_describe_registration(const struct vm_record_registered *facts, char *ret_text,
				   size_t size)
{
	struct line line = begin(ret_text, size);

	add(&line, "VM %s: %" PRIu32 " view%s, %sexecutor in the %s", facts->name, facts->n_views,
	    plural(facts->n_views), facts->is_simulated ? "simulated, " : "",
	    facts->executor == WIRE_EXECUTOR_DAEMON ? "daemon" : "VMM");
}

void history_describe_release(const struct vm_record_released *released, char *ret_text,
			      size_t size)
{
	const char *status = kvmattr_status_name((int)released->status);
	struct line line = begin(ret_text, size);

	add(&line, "the VM was released: %s: %s", status ? status : "unknown", released->text);
}
