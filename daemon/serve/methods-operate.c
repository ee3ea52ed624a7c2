/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm.freeze, vm.thaw, vm.verify, vm.release, vm.update: what operators do to a VM.
 */
#include "daemon/log.h"
#include "hosted-vm.h"
#include "json-put.h"
#include "method-words.h"
#include "operation.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>

/* The VM, unless it was told to go a moment ago: then the call is refused. */
static struct hosted_vm *take_vm(const struct method_call *call, struct jsonrpc_answer *answer)
{
	struct hosted_vm *hosted = method_vm(call, "vm");

	if (!hosted->is_doomed)
		return hosted;
	method_refuse(answer, KVMATTR_NO_VM, "VM %s is gone: %s", hosted->name, hosted->doom_text);
	return NULL;
}

static void log_operator(const struct method_call *call, const struct hosted_vm *hosted,
			 const char *what)
{
	char who[OPERATION_WHO_SIZE];

	log_with_id(LOG_ID_OPERATOR_ACTED, method_about(call, hosted), "%s, asked for by %s", what,
		    operation_who(call->peer, who, sizeof(who)));
}

static void method_vm_freeze(const struct method_call *call, struct jsonrpc_answer *answer)
{
	struct hosted_vm *hosted = take_vm(call, answer);

	if (!hosted)
		return;
	log_operator(call, hosted, "freeze");
	operation_freeze(call, hosted, answer);
}

static void method_vm_thaw(const struct method_call *call, struct jsonrpc_answer *answer)
{
	struct hosted_vm *hosted = take_vm(call, answer);
	struct json_object *result;

	if (!hosted)
		return;
	log_operator(call, hosted, "thaw");
	result = method_result(answer);
	json_put_text(result, "vm", hosted->name);
	json_put_boolean(result, "frozen", false);
	json_put_number(result, "commit", vm_commit(hosted->vm));
	json_put_number(result, "queue", vm_queue_length(hosted->vm));
	if (!vm_is_frozen(hosted->vm))
		return;
	operations_thawed(hosted);
	vm_thaw(hosted->vm);
}

static void method_vm_verify(const struct method_call *call, struct jsonrpc_answer *answer)
{
	struct hosted_vm *hosted = take_vm(call, answer);

	if (!hosted)
		return;
	log_operator(call, hosted, "verification");
	operation_verify(call, hosted, answer);
}

static void method_vm_release(const struct method_call *call, struct jsonrpc_answer *answer)
{
	struct hosted_vm *hosted = take_vm(call, answer);
	uint64_t commit, expected;

	if (!hosted)
		return;
	commit = vm_commit(hosted->vm);
	expected = method_number(call, "commit", commit);
	if (expected != commit) {
		method_refuse(answer, KVMATTR_OPERATION_DENIED,
			      "VM %s has commit %" PRIu64 ", not %" PRIu64 "; it is not released",
			      hosted->name, commit, expected);
		return;
	}
	log_operator(call, hosted, "release");
	operation_release(call, hosted, answer);
}

/* ---- vm.update ----------------------------------------------------------------------------- */

enum { LAYER = 1, PROTECTION = 2, VISIBILITY = 4, RESTRICTS = 8, MBEC = 16, RANGES = 32 };
static const char *const parts[] = {
	"layer", "protection", "visibility", "restricts", "mbec", "ranges",
};

/* Which parameters an update of a kind needs, and which it may have. */
static const struct {
	unsigned int needed;
	unsigned int allowed; /* those that are needed included */
} rules[] = {
	[KVMATTR_PROTECT] = { LAYER | PROTECTION | RANGES,
			      LAYER | PROTECTION | RANGES | RESTRICTS },
	[KVMATTR_SET_VISIBILITY] = { VISIBILITY | RANGES, VISIBILITY | RANGES },
	[KVMATTR_LOCK] = { RANGES, RANGES },
	[KVMATTR_UNLOCK] = { RANGES, RANGES },
	[KVMATTR_ADD_RAM] = { RANGES, RANGES | VISIBILITY },
	[KVMATTR_REMOVE_RAM] = { RANGES, RANGES },
	[KVMATTR_ENABLE_LAYER] = { LAYER | PROTECTION, LAYER | PROTECTION | MBEC },
	[KVMATTR_RESET_LAYER] = { LAYER, LAYER },
	[KVMATTR_RESET_VM] = { 0, 0 },
};
_Static_assert(sizeof(rules) / sizeof(*rules) == KVMATTR_N_UPDATE_KINDS, "a rule for each kind");

/* A parameter too many would be believed to do something. */
static bool check_parts(const struct method_call *call, const struct hosted_vm *hosted,
			enum kvmattr_update_kind kind, struct jsonrpc_answer *answer)
{
	for (unsigned int i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		bool is_given = method_is_given(call, parts[i]);
		bool is_needed = rules[kind].needed >> i & 1;

		if (is_given ? rules[kind].allowed >> i & 1 : !is_needed)
			continue;
		method_refuse(answer, KVMATTR_INVALID_PARAMETER, "an update of kind %s %s %s",
			      method_update_kinds[kind - KVMATTR_PROTECT],
			      is_given ? "has no" : "needs its", parts[i]);
		json_put_number(answer->data, "in_force", 0);
		json_put_number(answer->data, "commit", vm_commit(hosted->vm));
		return false;
	}
	return true;
}

static void method_vm_update(const struct method_call *call, struct jsonrpc_answer *answer)
{
	enum kvmattr_update_kind kind =
		(enum kvmattr_update_kind)(method_number(call, "kind", 0) + KVMATTR_PROTECT);
	const struct method_argument *ranges = method_argument(call, "ranges");
	struct hosted_vm *hosted = take_vm(call, answer);
	/* of protection and visibility there is at most one */
	uint64_t value = method_number(call, "protection", method_number(call, "visibility", 0));
	const struct policy_element element = {
		.kind = kind,
		.layer = (uint8_t)method_number(call, "layer", 0),
		.value = (uint8_t)value,
		.restricted = (uint16_t)method_number(
			call, "restricts", kind == KVMATTR_PROTECT ? KVMATTR_ALL_LOWER : 0),
		.mbec = method_number(call, "mbec", 0),
	};
	char what[48];

	if (!hosted || !check_parts(call, hosted, kind, answer))
		return;
	snprintf(what, sizeof(what), "update (%s)", method_update_kinds[kind - KVMATTR_PROTECT]);
	log_operator(call, hosted, what);
	operation_update(call, hosted, &element, ranges->ranges, (uint32_t)ranges->n_ranges,
			 answer);
}

/* ---- The table ----------------------------------------------------------------------------- */

static const struct method_member freeze_members[] = {
	VM_MEMBER,
	{ .name = "frozen", .value = VALUE_BOOLEAN },
	COMMIT_MEMBER,
	{},
};

static const struct method_member thaw_members[] = {
	VM_MEMBER,
	{ .name = "frozen", .value = VALUE_BOOLEAN },
	COMMIT_MEMBER,
	{ .name = "queue", .value = VALUE_NUMBER, .summary = "updates that have waited" },
	{},
};

static const struct method_member verify_members[] = {
	VM_MEMBER,
	COMMIT_MEMBER,
	{ .name = "pages",
	  .value = VALUE_NUMBER,
	  .summary = "that KVM was told anew, of all views" },
	{ .name = "calls", .value = VALUE_NUMBER, .summary = "that it took" },
	{ .name = "unknown_pages",
	  .value = VALUE_NUMBER,
	  .summary = "of which it is not known what KVM holds; 0: all is enforced" },
	{},
};

static const struct method_member release_members[] = {
	VM_MEMBER,
	COMMIT_MEMBER,
	{},
};

static const struct method_member update_members[] = {
	VM_MEMBER,
	{ .name = "commit", .value = VALUE_NUMBER, .summary = "with which it came into force" },
	{ .name = "elements",
	  .value = VALUE_NUMBER,
	  .summary = "in force: its ranges; 1 for a kind without ranges" },
	{},
};

const struct method operate_methods[] = {
	{
		.name = "vm.freeze",
		.summary =
			"Keeps a VM's updates waiting until it is thawed, or the daemon restarts",
		.members = freeze_members,
		.role = METHOD_OPERATOR,
		.run = method_vm_freeze,
		.parameters = { VM_PARAMETER },
	},
	{
		.name = "vm.thaw",
		.summary = "Has a frozen VM carry out updates again, first those that waited",
		.members = thaw_members,
		.role = METHOD_OPERATOR,
		.run = method_vm_thaw,
		.parameters = { VM_PARAMETER },
	},
	{
		.name = "vm.verify",
		.summary = "Tells KVM again what every page of RAM is to be, in every view",
		.members = verify_members,
		.role = METHOD_OPERATOR,
		.run = method_vm_verify,
		.parameters = { VM_PARAMETER },
	},
	{
		.name = "vm.release",
		.summary = "Lets go of a VM; KVM keeps what it was told, and nobody changes it",
		.members = release_members,
		.role = METHOD_OPERATOR,
		.run = method_vm_release,
		.parameters = { VM_PARAMETER, COMMIT_PARAMETER("commit", false,
							       "only if this is its last commit") },
	},
	{
		.name = "vm.update",
		.summary = "Makes one update with the owner's rights; answered when it is in force",
		.members = update_members,
		.role = METHOD_OPERATOR,
		.run = method_vm_update,
		.parameters = { VM_PARAMETER,
				{ .name = "kind",
				  .type = METHOD_CHOICE,
				  .is_required = true,
				  .choices = method_update_kinds,
				  .summary = "what it does" },
				{ .name = "layer",
				  .type = METHOD_INTEGER,
				  .maximum = KVMATTR_N_VTLS - 1,
				  .summary = "the layer's VTL, for protect, enable-layer and "
					     "reset-layer" },
				{ .name = "protection",
				  .type = METHOD_CHOICE,
				  .choices = method_protections,
				  .summary = "for protect; for enable-layer: the default" },
				{ .name = "visibility",
				  .type = METHOD_CHOICE,
				  .choices = method_visibilities,
				  .summary = "for set-visibility, and for add-ram, where it is "
					     "shared if left out" },
				{ .name = "restricts",
				  .type = METHOD_VTLS,
				  .summary = "for protect: the VTLs that it is for; all below "
					     "the layer if left out" },
				{ .name = "mbec",
				  .type = METHOD_BOOLEAN,
				  .summary = "for enable-layer: whether user execute counts by "
					     "itself; false if left out" },
				{ .name = "ranges",
				  .type = METHOD_RANGES,
				  .summary = "the pages, for all kinds but enable-layer, "
					     "reset-layer and reset-vm" } },
	},
	{},
};
