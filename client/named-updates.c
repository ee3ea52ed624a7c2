/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Updates by name, with lists of any length.
 *
 * A list that one update cannot hold is done piece by piece, each waited for before the next is
 * sent: that alone makes "stops at the first that fails" true, since whatever is on its way
 * behind a failing update is still carried out.
 */
#include "client/connection.h"

static int do_without_elements(struct kvmattr *c, struct kvmattr_update update)
{
	return kvmattr_do_update(c, &update, NULL);
}

/* Exactly one of gfns and ranges is not NULL, or n is 0. */
static int do_list(struct kvmattr *c, struct kvmattr_update update, const uint64_t *gfns,
		   const struct kvmattr_range *ranges, size_t n, size_t *ret_n_in_force)
{
	size_t most = gfns ? KVMATTR_MAX_PAGES : KVMATTR_MAX_RANGES;
	size_t n_in_force = 0;
	int r = 0;

	while (!r && n_in_force < n) {
		struct kvmattr_answer answer = { 0 };

		update.n = (uint32_t)(n - n_in_force < most ? n - n_in_force : most);
		update.gfns = gfns ? gfns + n_in_force : NULL;
		update.ranges = ranges ? ranges + n_in_force : NULL;
		r = kvmattr_do_update(c, &update, &answer);
		n_in_force += answer.n_in_force;
	}
	if (ret_n_in_force)
		*ret_n_in_force = n_in_force;
	return r;
}

/* The fields are narrower than what callers pass: what does not fit is refused, never cut off. */
static int check_fields(struct kvmattr *c, unsigned int layer, unsigned int restricted,
			unsigned int protection)
{
	if (layer >= KVMATTR_N_VTLS)
		return connection_refuse(c, KVMATTR_INVALID_PARAMETER,
					 "layer %u: there are VTLs 1 to %d to impose protections",
					 layer, KVMATTR_N_VTLS - 1);
	if (restricted > KVMATTR_ALL_LOWER)
		return connection_refuse(c, KVMATTR_INVALID_PARAMETER,
					 "restricted VTLs 0x%x: a set has %d bits", restricted,
					 KVMATTR_N_VTLS);
	if (protection & ~KVMATTR_PROTECTION)
		return connection_refuse(c, KVMATTR_INVALID_PARAMETER,
					 "protection 0x%x: only the bits 0x%x mean something",
					 protection, KVMATTR_PROTECTION);
	return 0;
}

int kvmattr_enable_layer(struct kvmattr *c, unsigned int layer, unsigned int default_protection,
			 int mbec)
{
	int r = check_fields(c, layer, 0, default_protection);

	return r ? r
		 : do_without_elements(
			   c, (struct kvmattr_update){ .kind = KVMATTR_ENABLE_LAYER,
						       .layer = (uint8_t)layer,
						       .value = (uint8_t)default_protection,
						       .mbec = mbec ? 1 : 0 });
}

int kvmattr_reset_layer(struct kvmattr *c, unsigned int layer)
{
	int r = check_fields(c, layer, 0, 0);

	return r ? r
		 : do_without_elements(c, (struct kvmattr_update){ .kind = KVMATTR_RESET_LAYER,
								   .layer = (uint8_t)layer });
}

int kvmattr_reset_vm(struct kvmattr *owner)
{
	return do_without_elements(owner, (struct kvmattr_update){ .kind = KVMATTR_RESET_VM });
}

static int protect(struct kvmattr *c, unsigned int layer, unsigned int restricted,
		   unsigned int protection, const uint64_t *gfns,
		   const struct kvmattr_range *ranges, size_t n, size_t *ret_n_in_force)
{
	int r = check_fields(c, layer, restricted, protection);

	if (r) {
		if (ret_n_in_force)
			*ret_n_in_force = 0;
		return r;
	}
	return do_list(c,
		       (struct kvmattr_update){ .kind = KVMATTR_PROTECT,
						.layer = (uint8_t)layer,
						.value = (uint8_t)protection,
						.restricted = (uint16_t)restricted },
		       gfns, ranges, n, ret_n_in_force);
}

int kvmattr_protect(struct kvmattr *c, unsigned int layer, unsigned int restricted,
		    unsigned int protection, const uint64_t *gfns, size_t n, size_t *ret_n_in_force)
{
	return protect(c, layer, restricted, protection, gfns, NULL, n, ret_n_in_force);
}

int kvmattr_protect_ranges(struct kvmattr *c, unsigned int layer, unsigned int restricted,
			   unsigned int protection, const struct kvmattr_range *ranges, size_t n,
			   size_t *ret_n_in_force)
{
	return protect(c, layer, restricted, protection, NULL, ranges, n, ret_n_in_force);
}

static int do_ranges(struct kvmattr *c, enum kvmattr_update_kind kind, unsigned int value,
		     const struct kvmattr_range *ranges, size_t n, size_t *ret_n_in_force)
{
	return do_list(c, (struct kvmattr_update){ .kind = kind, .value = (uint8_t)value }, NULL,
		       ranges, n, ret_n_in_force);
}

int kvmattr_set_visibility(struct kvmattr *c, int is_private, const struct kvmattr_range *ranges,
			   size_t n, size_t *ret_n_in_force)
{
	return do_ranges(c, KVMATTR_SET_VISIBILITY, is_private ? 1 : 0, ranges, n, ret_n_in_force);
}

int kvmattr_lock(struct kvmattr *owner, const struct kvmattr_range *ranges, size_t n,
		 size_t *ret_n_in_force)
{
	return do_ranges(owner, KVMATTR_LOCK, 0, ranges, n, ret_n_in_force);
}

int kvmattr_unlock(struct kvmattr *owner, const struct kvmattr_range *ranges, size_t n,
		   size_t *ret_n_in_force)
{
	return do_ranges(owner, KVMATTR_UNLOCK, 0, ranges, n, ret_n_in_force);
}

int kvmattr_add_ram(struct kvmattr *owner, const struct kvmattr_range *ranges, size_t n,
		    int is_private, size_t *ret_n_in_force)
{
	return do_ranges(owner, KVMATTR_ADD_RAM, is_private ? 1 : 0, ranges, n, ret_n_in_force);
}

int kvmattr_remove_ram(struct kvmattr *owner, const struct kvmattr_range *ranges, size_t n,
		       size_t *ret_n_in_force)
{
	return do_ranges(owner, KVMATTR_REMOVE_RAM, 0, ranges, n, ret_n_in_force);
}
