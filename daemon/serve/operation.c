/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "operation.h"

#include "daemon/allocate.h"
#include "daemon/log.h"
#include "hosted-vm.h"
#include "json-put.h"
#include "vm-events.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>

enum operation_kind { FREEZE, VERIFY, UPDATE, RELEASE };

struct operation {
	LIST_ENTRY(operation) list; /* the hosted VM's */
	struct hosted_vm *hosted;
	enum operation_kind kind;
	struct method_peer *peer;      /* who waits; NULL: nobody (any more) */
	struct jsonrpc_answer *answer; /* while its function runs: it may be over already */
	bool is_over;
	uint64_t commit; /* of RELEASE: the last */
};

const char *operation_who(const struct method_peer *peer, char *text, size_t size)
{
	snprintf(text, size, "an operator (PID %d, UID %u)", (int)peer->who.pid, peer->who.uid);
	return text;
}

/* ---- Beginning and end --------------------------------------------------------------------- */

static struct operation *begin(struct hosted_vm *hosted, enum operation_kind kind,
			       struct jsonrpc_answer *answer)
{
	struct operation *operation = allocate_one(struct operation);

	operation->hosted = hosted;
	operation->kind = kind;
	operation->answer = answer;
	LIST_INSERT_HEAD(&hosted->operations, operation, list);
	hosted->n_operator_updates += kind == UPDATE;
	return operation;
}

/* It is over: answers whoever is there to be answered. */
static void end(struct operation *operation, struct jsonrpc_answer *answer)
{
	LIST_REMOVE(operation, list);
	operation->hosted->n_operator_updates -= operation->kind == UPDATE;
	if (operation->answer) {
		*operation->answer = *answer;
		operation->is_over = true; /* free_or_wait() is next */
		return;
	}
	if (operation->peer) {
		method_finish(operation->peer, answer);
	} else {
		json_object_put(answer->result);
		json_object_put(answer->data);
	}
	free(operation);
}

/* The peer is gone.  Only what nobody would hear of is not worth waiting for. */
static void cancel(void *context)
{
	struct operation *operation = context;

	operation->peer = NULL;
	if (operation->kind == VERIFY || operation->kind == UPDATE)
		return;
	LIST_REMOVE(operation, list);
	free(operation);
}

/* The call's function is through: if it is not over, the peer waits. */
static void free_or_wait(struct operation *operation, const struct method_call *call)
{
	if (operation->is_over) {
		free(operation);
		return;
	}
	operation->answer = NULL;
	operation->peer = call->peer;
	method_answer_later(call, cancel, operation);
}

static struct json_object *put_vm(struct jsonrpc_answer *answer, const struct hosted_vm *hosted)
{
	struct json_object *result = method_result(answer);

	json_put_text(result, "vm", hosted->name);
	return result;
}

/* All of that kind end; fill is called for each. */
static void end_all(struct hosted_vm *hosted, enum operation_kind kind,
		    void (*fill)(struct jsonrpc_answer *answer, const struct hosted_vm *hosted,
				 const void *context),
		    const void *context)
{
	struct operation *operation, *next;

	for (operation = LIST_FIRST(&hosted->operations); operation; operation = next) {
		struct jsonrpc_answer answer = { 0 };

		next = LIST_NEXT(operation, list);
		if (operation->kind != kind)
			continue;
		fill(&answer, hosted, context);
		end(operation, &answer);
	}
}

/* ---- Freezing ------------------------------------------------------------------------------ */

static void fill_frozen(struct jsonrpc_answer *answer, const struct hosted_vm *hosted,
			const void *unused)
{
	struct json_object *result = put_vm(answer, hosted);

	(void)unused;
	json_put_boolean(result, "frozen", true);
	json_put_number(result, "commit", vm_commit(hosted->vm));
}

static void fill_thawed(struct jsonrpc_answer *answer, const struct hosted_vm *hosted,
			const void *unused)
{
	(void)unused;
	method_refuse(answer, KVMATTR_OPERATION_DENIED,
		      "VM %s: another operator thawed it before it came to rest", hosted->name);
}

void operations_still(struct hosted_vm *hosted)
{
	if (!hosted->is_still) {
		hosted->is_still = true;
		log_vm(LOG_LEVEL_INFO, hosted->name,
		       "frozen with commit %" PRIu64 ": updates wait until it is thawed",
		       vm_commit(hosted->vm));
		vm_events_frozen(hosted, true);
	}
	end_all(hosted, FREEZE, fill_frozen, NULL);
}

void operations_thawed(struct hosted_vm *hosted)
{
	if (hosted->is_still)
		vm_events_frozen(hosted, false);
	hosted->is_still = false;
	end_all(hosted, FREEZE, fill_thawed, NULL);
}

void operation_freeze(const struct method_call *call, struct hosted_vm *hosted,
		      struct jsonrpc_answer *answer)
{
	struct operation *operation = begin(hosted, FREEZE, answer);

	vm_freeze(hosted->vm);
	free_or_wait(operation, call);
}

/* ---- Verifying ----------------------------------------------------------------------------- */

static void fill_verified(struct jsonrpc_answer *answer, const struct hosted_vm *hosted,
			  const void *context)
{
	const struct vm_verification *verification = context;
	struct json_object *result;

	if (verification->status) {
		method_refuse(answer, verification->status,
			      "VM %s: it was told anew of %" PRIu64 " pages, not of all: %s",
			      hosted->name, verification->n_pages, verification->text);
		return;
	}
	result = put_vm(answer, hosted);
	json_put_number(result, "commit", vm_commit(hosted->vm));
	json_put_number(result, "pages", verification->n_pages);
	json_put_number(result, "calls", verification->n_calls);
	json_put_number(result, "unknown_pages", vm_unknown_pages(hosted->vm));
}

void operations_verified(struct hosted_vm *hosted, const struct vm_verification *verification)
{
	uint64_t n_unknown = vm_unknown_pages(hosted->vm);

	if (verification->status)
		log_vm(LOG_LEVEL_WARNING, hosted->name,
		       "the verification ends after %" PRIu64 " pages: %s", verification->n_pages,
		       verification->text);
	else if (n_unknown)
		log_vm(LOG_LEVEL_WARNING, hosted->name,
		       "verified in vain: KVM refuses, and it is not known what it enforces on %" PRIu64
		       " pages; trying again",
		       n_unknown);
	else
		log_vm(LOG_LEVEL_INFO, hosted->name,
		       "verified: KVM was told anew of %" PRIu64 " pages in %" PRIu64 " calls",
		       verification->n_pages, verification->n_calls);
	end_all(hosted, VERIFY, fill_verified, verification);
}

void operation_verify(const struct method_call *call, struct hosted_vm *hosted,
		      struct jsonrpc_answer *answer)
{
	struct operation *operation = begin(hosted, VERIFY, answer);
	enum kvmattr_status status = vm_verify(hosted->vm);
	struct jsonrpc_answer refusal = { 0 };

	if (status) {
		method_refuse(&refusal, status, "VM %s: %s", hosted->name,
			      status == KVMATTR_OPERATION_DENIED
				      ? "a verification is under way; wait for its end"
				      : kvmattr_status_text(status));
		end(operation, &refusal);
	}
	free_or_wait(operation, call);
}

/* ---- Updating ------------------------------------------------------------------------------ */

static void on_updated(void *context, enum kvmattr_status status, uint32_t n_in_force,
		       uint64_t commit, const char *text)
{
	struct operation *operation = context;
	struct jsonrpc_answer answer = { 0 };

	if (status) {
		method_refuse(&answer, status, "VM %s: %s", operation->hosted->name, text);
		json_put_number(answer.data, "in_force", n_in_force);
		json_put_number(answer.data, "commit", commit);
	} else {
		struct json_object *result = put_vm(&answer, operation->hosted);

		json_put_number(result, "commit", commit);
		json_put_number(result, "elements", n_in_force);
	}
	end(operation, &answer);
}

void operation_update(const struct method_call *call, struct hosted_vm *hosted,
		      const struct policy_element *element, const struct kvmattr_range *ranges,
		      uint32_t n, struct jsonrpc_answer *answer)
{
	struct operation *operation;

	if (hosted->n_operator_updates >= OPERATION_MAX_UPDATES) {
		method_refuse(answer, KVMATTR_LIMIT_EXCEEDED,
			      "VM %s: %u updates of operators are under way, as many as there may "
			      "be; wait for their end",
			      hosted->name, OPERATION_MAX_UPDATES);
		return;
	}
	operation = begin(hosted, UPDATE, answer);
	hosted_vm_update(hosted, true, element, ranges, n, on_updated, operation);
	free_or_wait(operation, call);
}

/* ---- The VM's end -------------------------------------------------------------------------- */

void operation_release(const struct method_call *call, struct hosted_vm *hosted,
		       struct jsonrpc_answer *answer)
{
	struct operation *operation = begin(hosted, RELEASE, answer);
	char who[OPERATION_WHO_SIZE], text[OPERATION_WHO_SIZE + 16];

	operation->commit = vm_commit(hosted->vm);
	snprintf(text, sizeof(text), "%s released it", operation_who(call->peer, who, sizeof(who)));
	hosted_vm_doom(hosted, KVMATTR_NO_VM, text);
	free_or_wait(operation, call);
}

void operations_end(struct hosted_vm *hosted)
{
	struct operation *operation;

	while ((operation = LIST_FIRST(&hosted->operations))) {
		struct jsonrpc_answer answer = { 0 };

		if (operation->kind == RELEASE)
			json_put_number(put_vm(&answer, hosted), "commit", operation->commit);
		else
			method_refuse(&answer, KVMATTR_NO_VM, "VM %s is gone: %s", hosted->name,
				      hosted->doom_text);
		end(operation, &answer);
	}
}
