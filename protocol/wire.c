/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

struct wire_header wire_header_make(uint16_t type, size_t size, uint64_t id)
{
	assert(size >= sizeof(struct wire_header) && size <= WIRE_MAX_MESSAGE);
	return (struct wire_header){ .type = type, .size = (uint32_t)size, .id = id };
}

const char *wire_get_header(const void *data, size_t size, struct wire_header *ret)
{
	struct wire_header header;

	if (size < sizeof(header))
		return "header";
	memcpy(&header, data, sizeof(header));
	if (header.reserved)
		return "header.reserved";
	if (header.size != size)
		return "header.size";
	*ret = header;
	return NULL;
}

/* Copies the fixed part, which is at most the message. */
static bool get(const void *data, size_t size, void *ret, size_t fixed)
{
	if (size < fixed)
		return false;
	memcpy(ret, data, fixed);
	return true;
}

/* The same for a message that has nothing behind its fixed part. */
static bool get_all(const void *data, size_t size, void *ret, size_t fixed)
{
	return size == fixed && get(data, size, ret, fixed);
}

static void get_part(const void *data, size_t fixed, uint32_t i, void *ret, size_t part)
{
	memcpy(ret, (const uint8_t *)data + fixed + i * part, part);
}

/* Does a message end exactly behind n parts? */
static bool holds(size_t size, size_t fixed, uint64_t n, size_t part)
{
	return n <= WIRE_MAX_MESSAGE && size == fixed + n * part;
}

static bool is_text(const char *text, size_t size)
{
	return memchr(text, '\0', size);
}

/* NUL-terminated and printable ASCII: it will stand in logs and on terminals. */
static bool is_name(const char *text, size_t size)
{
	const char *end = memchr(text, '\0', size);

	if (!end)
		return false;
	for (const char *c = text; c < end; c++)
		if (*c < 0x20 || *c > 0x7e)
			return false;
	return true;
}

const char *wire_get_hello(const void *data, size_t size, struct wire_hello *ret)
{
	if (!get_all(data, size, ret, sizeof(*ret)))
		return "header.size";
	if (ret->magic != WIRE_MAGIC)
		return "magic";
	if (ret->version_max < ret->version_min)
		return "version_max";
	return is_name(ret->peer, sizeof(ret->peer)) ? NULL : "peer";
}

const char *wire_get_welcome(const void *data, size_t size, struct wire_welcome *ret)
{
	if (!get_all(data, size, ret, sizeof(*ret)))
		return "header.size";
	if (ret->role > WIRE_ROLE_AGENT)
		return "role";
	if (ret->vtl >= KVMATTR_N_VTLS)
		return "vtl";
	if (ret->rights & ~WIRE_RIGHTS)
		return "rights";
	if (ret->max_message != WIRE_MAX_MESSAGE)
		return "max_message";
	if (!ret->max_updates_in_flight)
		return "max_updates_in_flight";
	if (!is_name(ret->vm, sizeof(ret->vm)))
		return "vm";
	if (!is_name(ret->daemon, sizeof(ret->daemon)))
		return "daemon";
	return is_text(ret->agent_socket, sizeof(ret->agent_socket)) &&
			       (!*ret->agent_socket || *ret->agent_socket == '/')
		       ? NULL
		       : "agent_socket";
}

const char *wire_get_notice(const void *data, size_t size, struct wire_notice *ret)
{
	if (!get_all(data, size, ret, sizeof(*ret)))
		return "header.size";
	if (ret->status >= KVMATTR_N_STATUSES)
		return "status";
	if (ret->closing > 1)
		return "closing";
	return is_text(ret->text, sizeof(ret->text)) ? NULL : "text";
}

const char *wire_get_register(const void *data, size_t size, struct wire_register *ret)
{
	if (!get(data, size, ret, sizeof(*ret)))
		return "header.size";
	if (!is_name(ret->name, sizeof(ret->name)))
		return "name";
	if (!ret->n_views || ret->n_views > KVMATTR_N_VTLS)
		return "n_views";
	if (ret->n_ram > WIRE_MAX_RAM)
		return "n_ram";
	return size == sizeof(*ret) + ret->n_views * sizeof(struct wire_view) +
				       ret->n_ram * sizeof(struct wire_ram)
		       ? NULL
		       : "header.size";
}

/* A view as its owner names it. */
static const char *check_view(const struct wire_view *view)
{
	if (view->vtl >= KVMATTR_N_VTLS)
		return "view.vtl";
	if (view->abi >= KVMATTR_N_ABIS)
		return "view.abi";
	if (view->has_stats > 1)
		return "view.has_stats";
	if (view->reserved || view->reserved2)
		return "view.reserved";
	return view->supported ? "view.supported" : NULL;
}

const char *wire_at_register_view(const void *data, const struct wire_register *m, uint32_t i,
				  struct wire_view *ret)
{
	assert(i < m->n_views);
	get_part(data, sizeof(*m), i, ret, sizeof(*ret));
	return check_view(ret);
}

const char *wire_at_register_ram(const void *data, const struct wire_register *m, uint32_t i,
				 struct wire_ram *ret)
{
	assert(i < m->n_ram);
	get_part(data, sizeof(*m) + m->n_views * sizeof(struct wire_view), i, ret, sizeof(*ret));
	if (ret->private > 1)
		return "ram.private";
	return ret->reserved ? "ram.reserved" : NULL;
}

const char *wire_get_registered(const void *data, size_t size, struct wire_registered *ret)
{
	if (!get(data, size, ret, sizeof(*ret)))
		return "header.size";
	if (ret->executor != WIRE_EXECUTOR_VMM && ret->executor != WIRE_EXECUTOR_DAEMON)
		return "executor";
	if (!ret->n_views || ret->n_views > KVMATTR_N_VTLS)
		return "n_views";
	return holds(size, sizeof(*ret), ret->n_views, sizeof(struct wire_view)) ? NULL
										 : "header.size";
}

/* A view as the daemon found it. */
static const char *check_probed_view(const struct wire_view *view)
{
	if (view->vtl >= KVMATTR_N_VTLS)
		return "view.vtl";
	if (view->abi == KVMATTR_ABI_PROBE || view->abi >= KVMATTR_N_ABIS)
		return "view.abi";
	if (view->has_stats)
		return "view.has_stats";
	return view->reserved || view->reserved2 ? "view.reserved" : NULL;
}

const char *wire_at_registered_view(const void *data, uint32_t i, struct wire_view *ret)
{
	get_part(data, sizeof(struct wire_registered), i, ret, sizeof(*ret));
	return check_probed_view(ret);
}

size_t wire_element_size(unsigned int form)
{
	return form == WIRE_FORM_PAGES    ? sizeof(uint64_t)
	       : form == WIRE_FORM_RANGES ? sizeof(struct kvmattr_range)
					  : 0;
}

uint32_t wire_count_stats(const struct wire_view *views, uint32_t n)
{
	uint32_t n_stats = 0;

	for (uint32_t i = 0; i < n; i++)
		n_stats += views[i].has_stats;
	return n_stats;
}

const char *wire_get_update_list(const void *data, size_t size, struct wire_update_list *ret)
{
	if (!get(data, size, ret, sizeof(*ret)))
		return "header.size";
	if (ret->reserved)
		return "reserved";
	/* Checked one by one against the size by wire_next_update(); this bounds an array. */
	return ret->n_updates &&
			       ret->n_updates <= (size - sizeof(*ret)) / sizeof(struct wire_update)
		       ? NULL
		       : "n_updates";
}

const char *wire_next_update(const void *data, size_t size, size_t *offset, struct wire_update *ret,
			     const uint8_t **ret_elements)
{
	const uint8_t *bytes = data;
	size_t room;
	uint64_t elements_size;

	if (size - *offset < sizeof(*ret))
		return "n_updates";
	memcpy(ret, bytes + *offset, sizeof(*ret));
	room = size - *offset - sizeof(*ret);

	if (!ret->kind || ret->kind >= KVMATTR_N_UPDATE_KINDS)
		return "update.kind";
	if (ret->form > WIRE_FORM_RANGES)
		return "update.form";
	if (ret->mbec > 1)
		return "update.mbec";
	if (ret->reserved || ret->reserved2)
		return "update.reserved";
	elements_size = (uint64_t)ret->n_elements * wire_element_size(ret->form);
	if (elements_size > room || (ret->form == WIRE_FORM_NONE) != (ret->n_elements == 0))
		return "update.n_elements";
	*ret_elements = bytes + *offset + sizeof(*ret);
	*offset += sizeof(*ret) + (size_t)elements_size;
	return NULL;
}

const char *wire_get_answer(const void *data, size_t size, struct wire_answer *ret)
{
	if (!get(data, size, ret, sizeof(*ret)))
		return "header.size";
	if (ret->reserved)
		return "reserved";
	return holds(size, sizeof(*ret), ret->n_failures, sizeof(struct wire_failure))
		       ? NULL
		       : "n_failures";
}

const char *wire_at_failure(const void *data, uint32_t i, struct wire_failure *ret)
{
	get_part(data, sizeof(struct wire_answer), i, ret, sizeof(*ret));
	if (!ret->status || ret->status >= KVMATTR_N_STATUSES)
		return "failure.status";
	return is_text(ret->text, sizeof(ret->text)) ? NULL : "failure.text";
}

const char *wire_get_query(const void *data, size_t size, struct wire_query *ret)
{
	return get_all(data, size, ret, sizeof(*ret)) ? NULL : "header.size";
}

const char *wire_get_runs(const void *data, size_t size, struct wire_runs *ret)
{
	if (!get(data, size, ret, sizeof(*ret)))
		return "header.size";
	if (ret->reserved)
		return "reserved";
	return holds(size, sizeof(*ret), ret->n_runs, sizeof(struct wire_run)) ? NULL : "n_runs";
}

const char *wire_at_run(const void *data, uint32_t i, struct wire_run *ret)
{
	get_part(data, sizeof(struct wire_runs), i, ret, sizeof(*ret));
	if (ret->attributes & ~(KVMATTR_PROTECTION | KVMATTR_PRIVATE))
		return "run.attributes";
	return ret->state > WIRE_UNKNOWN ? "run.state" : NULL;
}

const char *wire_get_explain(const void *data, size_t size, struct wire_explain *ret)
{
	if (!get_all(data, size, ret, sizeof(*ret)))
		return "header.size";
	if (ret->access & ~KVMATTR_PROTECTION)
		return "access";
	return ret->reserved || ret->reserved2 ? "reserved" : NULL;
}

const char *wire_get_explained(const void *data, size_t size, struct wire_explained *ret)
{
	if (!get_all(data, size, ret, sizeof(*ret)))
		return "header.size";
	if (ret->allowed > 1)
		return "allowed";
	if (ret->layer >= KVMATTR_N_VTLS)
		return "layer";
	if (ret->attributes & ~(KVMATTR_PROTECTION | KVMATTR_PRIVATE))
		return "attributes";
	if (ret->state > WIRE_UNKNOWN)
		return "state";
	return ret->reserved ? "reserved" : NULL;
}

const char *wire_get_open_agent(const void *data, size_t size, struct wire_open_agent *ret)
{
	return get_all(data, size, ret, sizeof(*ret)) ? NULL : "header.size";
}

const char *wire_get_restarted(const void *data, size_t size, struct wire_restarted *ret)
{
	if (!get_all(data, size, ret, sizeof(*ret)))
		return "header.size";
	return ret->header.id ? NULL : "header.id";
}

const char *wire_get_resume(const void *data, size_t size, struct wire_resume *ret)
{
	if (!get(data, size, ret, sizeof(*ret)))
		return "header.size";
	if (ret->n_views > KVMATTR_N_VTLS ||
	    !holds(size, sizeof(*ret), ret->n_views, sizeof(struct wire_view)))
		return "n_views";
	return ret->reserved ? "reserved" : NULL;
}

const char *wire_at_resume_view(const void *data, uint32_t i, struct wire_view *ret)
{
	get_part(data, sizeof(struct wire_resume), i, ret, sizeof(*ret));
	return check_view(ret);
}

const char *wire_get_resumed(const void *data, size_t size, struct wire_resumed *ret)
{
	if (!get(data, size, ret, sizeof(*ret)))
		return "header.size";
	if (ret->executor > WIRE_EXECUTOR_DAEMON)
		return "executor";
	/* An owner has both, an agent neither. */
	if (ret->n_views > KVMATTR_N_VTLS || !ret->n_views != !ret->executor)
		return "n_views";
	return holds(size, sizeof(*ret), ret->n_views, sizeof(struct wire_view)) ? NULL
										 : "header.size";
}

const char *wire_at_resumed_view(const void *data, uint32_t i, struct wire_view *ret)
{
	get_part(data, sizeof(struct wire_resumed), i, ret, sizeof(*ret));
	return check_probed_view(ret);
}

const char *wire_get_probe(const void *data, size_t size, struct wire_probe *ret)
{
	if (!get_all(data, size, ret, sizeof(*ret)))
		return "header.size";
	if (!ret->n_targets || ret->n_targets > KVMATTR_N_VTLS)
		return "n_targets";
	return ret->reserved ? "reserved" : NULL;
}

const char *wire_get_probed(const void *data, size_t size, struct wire_probed *ret)
{
	if (!get(data, size, ret, sizeof(*ret)))
		return "header.size";
	if (!ret->n_targets || ret->n_targets > KVMATTR_N_VTLS ||
	    !holds(size, sizeof(*ret), ret->n_targets, sizeof(struct wire_probe_result)))
		return "n_targets";
	return ret->reserved ? "reserved" : NULL;
}

const char *wire_at_probe_result(const void *data, uint32_t i, struct wire_probe_result *ret)
{
	get_part(data, sizeof(struct wire_probed), i, ret, sizeof(*ret));
	if (ret->v10_errno < 0)
		return "result.v10_errno";
	return ret->cap_errno < 0 ? "result.cap_errno" : NULL;
}

const char *wire_get_calls(const void *data, size_t size, struct wire_calls *ret)
{
	if (!get(data, size, ret, sizeof(*ret)))
		return "header.size";
	if (ret->reserved)
		return "reserved";
	return ret->n_calls && holds(size, sizeof(*ret), ret->n_calls, sizeof(struct wire_call))
		       ? NULL
		       : "n_calls";
}

const char *wire_at_call(const void *data, uint32_t i, struct wire_call *ret)
{
	get_part(data, sizeof(struct wire_calls), i, ret, sizeof(*ret));
	if (ret->abi == KVMATTR_ABI_PROBE || ret->abi >= KVMATTR_N_ABIS)
		return "call.abi";
	if (!ret->size || ret->size % KVMATTR_PAGE_SIZE)
		return "call.size";
	if (ret->gpa % KVMATTR_PAGE_SIZE || ret->gpa + ret->size < ret->gpa)
		return "call.gpa";
	return ret->reserved ? "call.reserved" : NULL;
}

const char *wire_get_called(const void *data, size_t size, struct wire_called *ret)
{
	if (!get_all(data, size, ret, sizeof(*ret)))
		return "header.size";
	if (ret->error < 0)
		return "error";
	return ret->partial % KVMATTR_PAGE_SIZE ? "partial" : NULL;
}

uint64_t wire_page_at(const uint8_t *elements, uint32_t i)
{
	uint64_t gfn;

	memcpy(&gfn, elements + i * sizeof(gfn), sizeof(gfn));
	return gfn;
}

struct kvmattr_range wire_range_at(const uint8_t *elements, uint32_t i)
{
	struct kvmattr_range range;

	memcpy(&range, elements + i * sizeof(range), sizeof(range));
	return range;
}
