/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vm-records.h"

#include <stdbool.h>
#include <string.h>

/* Copies the fixed part, which is at most the payload. */
static bool get(const void *data, size_t size, void *ret, size_t fixed)
{
	if (size < fixed)
		return false;
	memcpy(ret, data, fixed);
	return true;
}

/* The same for a payload that has nothing behind its fixed part. */
static bool get_all(const void *data, size_t size, void *ret, size_t fixed)
{
	return size == fixed && get(data, size, ret, fixed);
}

/* NUL-terminated and printable ASCII: it will stand in logs and on terminals. */
static bool is_name(const char *text, size_t size)
{
	size_t length = strnlen(text, size);

	for (size_t i = 0; i < length; i++)
		if (text[i] < 0x20 || text[i] > 0x7e)
			return false;
	return length < size;
}

static bool is_text(const char *text, size_t size)
{
	return memchr(text, '\0', size);
}

static bool is_failure(uint32_t status)
{
	return status && status < KVMATTR_N_STATUSES;
}

const char *vm_record_get_registered(const void *data, size_t size,
				     struct vm_record_registered *ret)
{
	if (!get(data, size, ret, sizeof(*ret)))
		return "size";
	if (!is_name(ret->name, sizeof(ret->name)) || !kvmattr_is_vm_name(ret->name))
		return "name";
	if (!ret->n_views || ret->n_views > KVMATTR_N_VTLS)
		return "n_views";
	if (ret->is_simulated > 1)
		return "is_simulated";
	if (ret->executor != WIRE_EXECUTOR_VMM && ret->executor != WIRE_EXECUTOR_DAEMON)
		return "executor";
	if (ret->reserved)
		return "reserved";
	return size == sizeof(*ret) + ret->n_views * sizeof(struct wire_view) ? NULL : "size";
}

const char *vm_record_at_view(const void *data, uint32_t i, struct wire_view *ret)
{
	memcpy(ret, (const uint8_t *)data + sizeof(struct vm_record_registered) + i * sizeof(*ret),
	       sizeof(*ret));
	if (ret->vtl >= KVMATTR_N_VTLS)
		return "view.vtl";
	if (ret->abi == KVMATTR_ABI_PROBE || ret->abi >= KVMATTR_N_ABIS)
		return "view.abi";
	if (ret->has_stats)
		return "view.has_stats";
	return ret->reserved || ret->reserved2 ? "view.reserved" : NULL;
}

const char *vm_record_get_session(const void *data, size_t size, struct vm_record_session *ret)
{
	if (!get_all(data, size, ret, sizeof(*ret)))
		return "size";
	if (!ret->id)
		return "id";
	if (ret->role != WIRE_ROLE_OWNER && ret->role != WIRE_ROLE_AGENT)
		return "role";
	if (ret->vtl >= KVMATTR_N_VTLS || (ret->role == WIRE_ROLE_OWNER && ret->vtl))
		return "vtl";
	if (ret->reserved)
		return "reserved";
	if (ret->rights & ~WIRE_RIGHTS || (ret->role == WIRE_ROLE_OWNER && ret->rights))
		return "rights";
	if (ret->pid < 0)
		return "pid";
	return is_name(ret->peer, sizeof(ret->peer)) ? NULL : "peer";
}

const char *vm_record_get_session_closed(const void *data, size_t size,
					 struct vm_record_session_closed *ret)
{
	if (!get_all(data, size, ret, sizeof(*ret)))
		return "size";
	return ret->id ? NULL : "id";
}

const char *vm_record_get_batch(const void *data, size_t size, struct vm_record_batch *ret)
{
	if (!get(data, size, ret, sizeof(*ret)))
		return "size";
	if (!ret->commit)
		return "commit";
	if (ret->reserved)
		return "reserved";
	/* Checked one by one against the size by vm_record_next_part(). */
	return ret->n_parts && ret->n_parts <= (size - sizeof(*ret)) / sizeof(struct vm_record_part)
		       ? NULL
		       : "n_parts";
}

static const char *check_update(const struct wire_update *update)
{
	if (!update->kind || update->kind >= KVMATTR_N_UPDATE_KINDS)
		return "part.update.kind";
	if (update->form > WIRE_FORM_RANGES)
		return "part.update.form";
	if (update->mbec > 1)
		return "part.update.mbec";
	return update->reserved || update->reserved2 ? "part.update.reserved" : NULL;
}

/* Does it hold some of its update, and no more than there is? */
static const char *check_extent(const struct vm_record_part *part)
{
	bool has_elements = part->update.form != WIRE_FORM_NONE;

	if (part->update.n_elements != (has_elements ? part->n : 0))
		return "part.update.n_elements";
	if (!part->n_total || (!has_elements && part->n_total != 1))
		return "part.n_total";
	if (part->first >= part->n_total)
		return "part.first";
	if (part->n > part->n_total - part->first)
		return "part.n";
	if (part->status)
		/* Behind those that are here, there is the one that was refused. */
		return part->n < part->n_total - part->first ? NULL : "part.status";
	return part->n ? NULL : "part.n";
}

static bool is_padded_text(const char *text, size_t size, size_t padded)
{
	if (memchr(text, '\0', size))
		return false;
	for (size_t i = size; i < padded; i++)
		if (text[i])
			return false;
	return true;
}

const char *vm_record_next_part(const void *data, size_t size, size_t *offset,
				struct vm_record_part *ret, const char **ret_text,
				const uint8_t **ret_elements)
{
	const uint8_t *bytes = data;
	size_t room, text_room;
	uint64_t elements_size;
	const char *bad;

	if (*offset > size || size - *offset < sizeof(*ret))
		return "n_parts";
	memcpy(ret, bytes + *offset, sizeof(*ret));
	room = size - *offset - sizeof(*ret);
	bytes += *offset + sizeof(*ret);

	if (ret->status >= KVMATTR_N_STATUSES)
		return "part.status";
	if (ret->flags & ~VM_RECORD_BY_OPERATOR || (ret->flags && ret->session))
		return "part.flags";
	bad = check_update(&ret->update);
	if (!bad)
		bad = check_extent(ret);
	if (bad)
		return bad;
	text_room = vm_record_text_room(ret->text_size);
	if (ret->text_size >= WIRE_TEXT_SIZE || text_room > room ||
	    (ret->text_size && !ret->status))
		return "part.text_size";
	elements_size = (uint64_t)ret->update.n_elements * wire_element_size(ret->update.form);
	if (elements_size > room - text_room)
		return "part.update.n_elements";
	if (!is_padded_text((const char *)bytes, ret->text_size, text_room))
		return "part.text";
	*ret_text = (const char *)bytes;
	*ret_elements = bytes + text_room;
	*offset += sizeof(*ret) + text_room + (size_t)elements_size;
	return NULL;
}

const char *vm_record_get_in_force(const void *data, size_t size, struct vm_record_in_force *ret)
{
	if (!get_all(data, size, ret, sizeof(*ret)))
		return "size";
	if (!ret->commit)
		return "commit";
	if (ret->flags & ~VM_RECORD_ALL_KNOWN)
		return "flags";
	return ret->reserved ? "reserved" : NULL;
}

const char *vm_record_get_refused(const void *data, size_t size, struct vm_record_refused *ret)
{
	if (!get_all(data, size, ret, sizeof(*ret)))
		return "size";
	if (!is_failure(ret->failure.status))
		return "failure.status";
	return is_text(ret->failure.text, sizeof(ret->failure.text)) ? NULL : "failure.text";
}

const char *vm_record_get_released(const void *data, size_t size, struct vm_record_released *ret)
{
	if (!get_all(data, size, ret, sizeof(*ret)))
		return "size";
	if (!is_failure(ret->status))
		return "status";
	return is_text(ret->text, sizeof(ret->text)) ? NULL : "text";
}

const char *vm_record_type_name(unsigned int type)
{
	static const char *const names[] = {
		[VM_RECORD_REGISTERED] = "REGISTERED",
		[VM_RECORD_SESSION] = "SESSION",
		[VM_RECORD_SESSION_CLOSED] = "SESSION_CLOSED",
		[VM_RECORD_READY] = "READY",
		[VM_RECORD_BATCH] = "BATCH",
		[VM_RECORD_IN_FORCE] = "IN_FORCE",
		[VM_RECORD_REFUSED] = "REFUSED",
		[VM_RECORD_RELEASED] = "RELEASED",
	};

	return type < sizeof(names) / sizeof(*names) ? names[type] : NULL;
}
