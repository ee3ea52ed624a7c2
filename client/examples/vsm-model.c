/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What should hold: see vsm-model.h. */
#include "vsm-model.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int model_init(struct model *model, enum kvmattr_abi abi, uint64_t n_pages)
{
	*model = (struct model){ .abi = abi, .n_pages = n_pages };
	model->entries = malloc(n_pages);
	model->visibility = calloc(n_pages, 1);
	if (!model->entries || !model->visibility) {
		model_destroy(model);
		return -ENOMEM;
	}
	memset(model->entries, MODEL_NO_ENTRY, n_pages);
	return 0;
}

void model_destroy(struct model *model)
{
	free(model->entries);
	free(model->visibility);
	model->entries = model->visibility = NULL;
}

uint8_t model_attributes(const struct model *model, unsigned int vtl, uint64_t gfn)
{
	uint8_t protection = KVMATTR_RWX;

	if (vtl == 0 && model->is_enabled) {
		protection = model->entries[gfn];
		if (protection == MODEL_NO_ENTRY)
			protection = model->default_protection;
	}
	return protection | model->visibility[gfn];
}

bool model_can_enforce(const struct model *model, uint8_t attributes)
{
	if ((attributes & KVMATTR_PROTECTION) == KVMATTR_RWX)
		return true;
	/*
	 * Private and restricted at once: the deny series forbids it.  v10 has words for it, but
	 * the test kernel answers EINVAL, which the daemon finds out by trying.
	 */
	if (model->abi == KVMATTR_ABI_MAINLINE || attributes & KVMATTR_PRIVATE)
		return false;
	/* v10's 0 is its default, all allowed, so without NO_ACCESS nothing says "none". */
	return attributes != KVMATTR_NONE || model->abi != KVMATTR_ABI_V10;
}

/* One element: all of its pages, or none and nothing changed. */
static int model_apply_range(struct model *model, const struct agent_request *request,
			     struct kvmattr_range range)
{
	bool is_protect = request->kind == KVMATTR_PROTECT;

	for (uint64_t gfn = range.gfn; gfn < range.gfn + range.n_pages; gfn++) {
		uint8_t now = model_attributes(model, 0, gfn), wanted;

		if (is_protect)
			wanted = request->value | (now & KVMATTR_PRIVATE);
		else
			wanted =
				(now & KVMATTR_PROTECTION) | (request->value ? KVMATTR_PRIVATE : 0);
		if (!model_can_enforce(model, wanted))
			return KVMATTR_UNSUPPORTED;
	}
	if (is_protect)
		memset(model->entries + range.gfn, request->value, range.n_pages);
	else
		memset(model->visibility + range.gfn, request->value ? KVMATTR_PRIVATE : 0,
		       range.n_pages);
	return KVMATTR_OK;
}

static struct model_verdict model_apply_elements(struct model *model,
						 const struct agent_request *request)
{
	struct model_verdict verdict = { KVMATTR_OK, 0 };
	unsigned int n = request->n_pages ? request->n_pages : request->n_ranges;

	if (request->kind == KVMATTR_PROTECT && !model->is_enabled)
		return (struct model_verdict){ KVMATTR_INVALID_VTL_STATE, 0 };
	for (unsigned int i = 0; i < n; i++) {
		struct kvmattr_range range = { .n_pages = 1 };

		if (request->n_pages)
			range.gfn = request->gfns[i];
		else
			range = request->ranges[i];
		verdict.status = model_apply_range(model, request, range);
		if (verdict.status)
			break;
		verdict.n_in_force++;
	}
	return verdict;
}

static int model_enable(struct model *model, uint8_t protection)
{
	for (uint64_t gfn = 0; gfn < model->n_pages; gfn++)
		if (!model_can_enforce(model, protection | model->visibility[gfn]))
			return KVMATTR_UNSUPPORTED;
	model->is_enabled = true;
	model->default_protection = protection;
	return KVMATTR_OK;
}

struct model_verdict model_apply(struct model *model, const struct agent_request *request)
{
	switch (request->kind) {
	case KVMATTR_ENABLE_LAYER:
		return (struct model_verdict){ model_enable(model, request->value), 0 };
	case KVMATTR_RESET_LAYER:
		model->is_enabled = false;
		memset(model->entries, MODEL_NO_ENTRY, model->n_pages);
		return (struct model_verdict){ KVMATTR_OK, 0 };
	default:
		return model_apply_elements(model, request);
	}
}
