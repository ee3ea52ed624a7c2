/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "request.h"

#include "undo-log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* So many pages of a leaf, not all equal, are changed together rather than run by run. */
#define MANY_PAGES 32

enum kvmattr_status request_refuse(const struct policy_request *request, enum kvmattr_status status,
				   const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(request->text, request->text_size, format, arguments);
	va_end(arguments);
	return status;
}

/* The first page of a range whose bits of mask are not those of wanted. */
bool request_find_page(const struct attribute_map *map, struct kvmattr_range range, uint8_t mask,
		       uint8_t wanted, uint64_t *ret_gfn)
{
	uint64_t gfn = range.gfn, limit = range.gfn + range.n_pages;

	while (gfn < limit) {
		struct attribute_span span = attribute_map_span(map, gfn, limit);

		if (!span.bytes && (span.value & mask) != wanted) {
			*ret_gfn = gfn;
			return true;
		}
		for (size_t i = 0; span.bytes && i < span.end - gfn; i++)
			if ((span.bytes[i] & mask) != wanted) {
				*ret_gfn = gfn + i;
				return true;
			}
		gfn = span.end;
	}
	return false;
}

uint64_t request_change_bytes(struct policy_request *request, struct attribute_map *map,
			      uint64_t gfn, size_t n, const uint8_t *values)
{
	struct attribute_span span = attribute_map_span(map, gfn, gfn + n);
	uint8_t old[ATTRIBUTE_MAP_LEAF_PAGES];
	uint64_t n_changed = 0;

	if (span.bytes)
		memcpy(old, span.bytes, n);
	else
		memset(old, span.value, n);
	for (size_t i = 0; i < n; i++)
		n_changed += old[i] != values[i];
	if (n_changed) {
		undo_log_add_bytes(request->log, map, gfn, n, old);
		attribute_map_set_bytes(map, gfn, n, values);
	}
	return n_changed;
}

/* The same to what the pages are & keep, + add. */
static uint64_t change_leaf(struct policy_request *request, struct attribute_map *map, uint64_t gfn,
			    size_t n, const uint8_t *old, uint8_t keep, uint8_t add)
{
	uint8_t values[ATTRIBUTE_MAP_LEAF_PAGES];

	for (size_t i = 0; i < n; i++)
		values[i] = (uint8_t)((old[i] & keep) + add);
	return request_change_bytes(request, map, gfn, n, values);
}

/*
 * Changes the pages of a range from what they are to (what they are & keep) + add, writes down
 * what they were, and returns the number of those that changed.
 */
uint64_t request_change_pages(struct policy_request *request, struct attribute_map *map,
			      struct kvmattr_range range, uint8_t keep, uint8_t add)
{
	uint64_t gfn = range.gfn, limit = range.gfn + range.n_pages, n_changed = 0;

	if (range.n_pages == 1 && !keep) {
		uint8_t old = attribute_map_set(map, gfn, add);

		if (old == add)
			return 0;
		undo_log_add_pages(request->log, map, gfn, 1, old);
		return 1;
	}
	while (gfn < limit) {
		struct attribute_span span = attribute_map_span(map, gfn, limit);
		uint8_t old = span.bytes ? span.bytes[0] : span.value;
		uint8_t new = (uint8_t)((old & keep) + add);
		uint64_t end = gfn + 1;

		if (span.bytes)
			while (end < span.end && span.bytes[end - gfn] == old)
				end++;
		else
			end = span.end;
		/* What a peer made of a leaf is not to cost a change for every page of it. */
		if (end < span.end && span.end - gfn >= MANY_PAGES) {
			n_changed += change_leaf(request, map, gfn, span.end - gfn, span.bytes,
						 keep, add);
			gfn = span.end;
			continue;
		}
		if (new != old) {
			undo_log_add_pages(request->log, map, gfn, end - gfn, old);
			attribute_map_set_range(map, gfn, end - gfn, new);
			n_changed += end - gfn;
		}
		gfn = end;
	}
	return n_changed;
}

enum kvmattr_status request_check_ram(const struct policy_request *request,
				      struct kvmattr_range range)
{
	uint64_t gfn;

	if (request_find_page(&request->policy->pages, range, PAGE_IS_RAM, PAGE_IS_RAM, &gfn))
		return request_refuse(request, KVMATTR_INVALID_PARAMETER,
				      "GFN 0x%" PRIx64 " is not RAM of the VM", gfn);
	return KVMATTR_OK;
}

static enum kvmattr_status check_unlocked(const struct policy_request *request,
					  struct kvmattr_range range)
{
	uint64_t gfn;

	if (request_find_page(&request->policy->pages, range, PAGE_IS_LOCKED, 0, &gfn))
		return request_refuse(request, KVMATTR_OPERATION_DENIED,
				      "GFN 0x%" PRIx64 " is locked by the VM's owner", gfn);
	return KVMATTR_OK;
}

/* RAM, and not locked: both in one walk where, as nearly always, all is well. */
enum kvmattr_status request_check_changeable(const struct policy_request *request,
					     struct kvmattr_range range)
{
	enum kvmattr_status status;
	uint64_t gfn;

	if (!request_find_page(&request->policy->pages, range, PAGE_IS_RAM | PAGE_IS_LOCKED,
			       PAGE_IS_RAM, &gfn))
		return KVMATTR_OK;
	status = request_check_ram(request, range);
	return status ? status : check_unlocked(request, range);
}

enum kvmattr_status request_refuse_inexpressible(const struct policy_request *request,
						 const struct view *view, uint8_t attributes)
{
	return request_refuse(request, KVMATTR_UNSUPPORTED,
			      "the kernel of VTL %u (%s, attribute bits 0x%" PRIx64
			      ") cannot enforce %s on "
			      "%s memory",
			      view->vtl, kvmattr_abi_name(view->dialect.abi),
			      view->dialect.supported, kvmattr_protection_name(attributes),
			      attributes & KVMATTR_PRIVATE ? "private" : "shared");
}
