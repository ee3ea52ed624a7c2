/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ram.h"

#include <string.h>

/* How many bytes from the first on are RAM, or are not; eight at a time where it can be. */
static size_t count_alike(const uint8_t *bytes, size_t n, bool is_ram)
{
	const uint64_t mask = UINT64_C(0x0101010101010101) * PAGE_IS_RAM;
	const uint64_t alike = is_ram ? mask : 0;
	size_t i = 0;

	for (uint64_t word; i + sizeof(word) <= n; i += sizeof(word)) {
		memcpy(&word, bytes + i, sizeof(word));
		if ((word & mask) != alike)
			break;
	}
	while (i < n && !!(bytes[i] & PAGE_IS_RAM) == is_ram)
		i++;
	return i;
}

/* The first page from gfn on that is RAM, or is not; KVMATTR_GFN_LIMIT if there is none. */
static uint64_t find(const struct policy *policy, uint64_t gfn, bool is_ram)
{
	while (gfn < KVMATTR_GFN_LIMIT) {
		struct attribute_span span =
			attribute_map_span(&policy->pages, gfn, KVMATTR_GFN_LIMIT);

		if (span.bytes) {
			size_t n = span.end - gfn;
			size_t n_others = count_alike(span.bytes, n, !is_ram);

			if (n_others < n)
				return gfn + n_others;
		} else if (!!(span.value & PAGE_IS_RAM) == is_ram) {
			return gfn;
		}
		gfn = span.end;
	}
	return KVMATTR_GFN_LIMIT;
}

/* The first range of RAM from gfn on; false if there is none. */
static bool next_range(const struct policy *policy, uint64_t gfn, struct kvmattr_range *ret_range)
{
	uint64_t start = find(policy, gfn, true);

	if (start == KVMATTR_GFN_LIMIT)
		return false;
	*ret_range = (struct kvmattr_range){ .gfn = start,
					     .n_pages = find(policy, start, false) - start };
	return true;
}

/* Behind the last page of RAM from gfn on; gfn if there is none. */
static uint64_t find_end(const struct policy *policy, uint64_t gfn)
{
	uint64_t end = gfn;

	while (gfn < KVMATTR_GFN_LIMIT) {
		struct attribute_span span =
			attribute_map_span(&policy->pages, gfn, KVMATTR_GFN_LIMIT);

		if (span.bytes) {
			/* backwards: the last byte is most often the answer */
			for (uint64_t n = span.end - gfn; n; n--) {
				if (span.bytes[n - 1] & PAGE_IS_RAM) {
					end = gfn + n;
					break;
				}
			}
		} else if (span.value & PAGE_IS_RAM) {
			end = span.end;
		}
		gfn = span.end;
	}
	return end;
}

const struct ram *ram_look(struct ram *ram, const struct policy *policy)
{
	struct kvmattr_range range;
	uint64_t end = 0;

	if (ram->version == policy->ram_version)
		return ram;
	*ram = (struct ram){ .version = policy->ram_version };
	while (next_range(policy, end, &range)) {
		end = range.gfn + range.n_pages;
		if (ram->n_ranges == RAM_RANGES) {
			ram->has_more = true;
			end = find_end(policy, end);
			break;
		}
		ram->ranges[ram->n_ranges++] = range;
	}
	if (ram->n_ranges) {
		ram->extent.gfn = ram->ranges[0].gfn;
		ram->extent.n_pages = end - ram->extent.gfn;
	}
	return ram;
}
