/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/kvmattrctl-sample.h"

#include "client/kvmattrctl-terminal.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const figure_names[N_FIGURES] = {
	[FIGURE_UPDATES] = "updates",
	[FIGURE_PAGES] = "pages",
	[FIGURE_CALLS] = "calls",
	[FIGURE_BATCHES] = "batches",
};

static uint64_t now_us(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static char *copy(const char *text)
{
	return terminal_there(strdup(text));
}

void sample_free(struct sample *sample)
{
	if (!sample)
		return;
	for (size_t i = 0; i < sample->n_vms; i++) {
		free(sample->vms[i].name);
		free(sample->vms[i].life);
		free(sample->vms[i].state);
		free(sample->vms[i].journal_trouble);
	}
	free(sample->vms);
	free(sample->version);
	free(sample);
}

bool sample_vm_is_in_trouble(const struct sample_vm *vm)
{
	return vm->is_degraded || vm->n_unknown || vm->journal_trouble ||
	       !strcmp(vm->state, "stuck");
}

const char *sample_vm_state(const struct sample_vm *vm)
{
	return !strcmp(vm->state, "stuck") ? vm->state
	       : vm->is_degraded           ? "degraded"
	       : vm->is_frozen             ? "frozen"
					   : vm->state;
}

static void read_daemon(struct sample *sample, struct json_object *daemon)
{
	struct json_object *counters = answer_object(daemon, "counters");

	sample->version = copy(answer_text(daemon, "version"));
	sample->pid = answer_number(daemon, "pid");
	sample->started_us = answer_number(daemon, "started_us");
	sample->uptime_us = answer_number(daemon, "uptime_us");
	sample->n_daemon_vms = answer_number(counters, "vms");
	sample->n_daemon_sessions = answer_number(counters, "sessions");
}

static void read_list(struct sample *sample, struct json_object *list, const char *wanted)
{
	size_t n;
	struct json_object *vms = answer_array(list, "vms", &n);

	sample->vms = terminal_there(calloc(n + 1, sizeof(*sample->vms)));
	for (size_t i = 0; i < n; i++) {
		struct json_object *object = json_object_array_get_idx(vms, i);
		struct sample_vm *vm = &sample->vms[sample->n_vms];

		if (wanted && strcmp(answer_text(object, "name"), wanted) != 0)
			continue;
		vm->name = copy(answer_text(object, "name"));
		vm->life = copy(answer_text(object, "journal"));
		vm->state = copy(answer_text(object, "state"));
		vm->is_degraded = answer_boolean(object, "degraded");
		vm->is_frozen = answer_boolean(object, "frozen");
		vm->n_sessions = answer_number(object, "sessions");
		vm->n_detached = answer_number(object, "detached_sessions");
		sample->n_vms++;
	}
}

static struct sample_vm *find_vm(const struct sample *sample, const char *name)
{
	for (size_t i = 0; sample && i < sample->n_vms; i++)
		if (!strcmp(sample->vms[i].name, name))
			return &sample->vms[i];
	return NULL;
}

static void read_statistics(struct sample *sample, struct json_object *statistics)
{
	size_t n;
	struct json_object *vms = answer_array(statistics, "vms", &n);

	for (size_t i = 0; i < n; i++) {
		struct json_object *object = json_object_array_get_idx(vms, i);
		struct sample_vm *vm = find_vm(sample, answer_text(object, "vm"));

		if (!vm)
			continue;
		for (int figure = 0; figure < N_FIGURES; figure++)
			vm->counted[figure] = answer_number(object, figure_names[figure]);
		vm->queue = answer_number(object, "queue");
		vm->n_unknown = answer_number(object, "unknown_pages");
		vm->n_failed = answer_number(object, "updates_failed");
		vm->since_us = answer_number(object, "since_us");
		vm->batch_us_total = answer_number(object, "batch_us_total");
		vm->batch_us_max = answer_number(object, "batch_us_max");
	}
}

static void read_latency(struct latency *latency, struct json_object *object)
{
	size_t n;
	struct json_object *buckets = answer_array(object, "buckets", &n);

	latency->n = answer_number(object, "updates");
	latency->total_us = answer_number(object, "total_us");
	latency->max_us = answer_number(object, "max_us");
	for (size_t i = 0; i < n && i < LATENCY_N_BUCKETS; i++)
		latency->buckets[i] = json_object_get_uint64(json_object_array_get_idx(buckets, i));
}

/* How long its updates took is only told of one VM at a time.  It may be gone meanwhile. */
static enum ctl_exit read_latencies(struct rpc *rpc, struct sample_vm *vm)
{
	struct json_object *statistics = NULL;
	enum ctl_exit exit_code =
		rpc_call(rpc, "stats.get", params_about("vm", vm->name), &statistics);
	size_t n;
	struct json_object *vms = answer_array(statistics, "vms", &n);

	if (n)
		read_latency(&vm->latency,
			     answer_object(json_object_array_get_idx(vms, 0), "latency"));
	json_object_put(statistics);
	return exit_code == CTL_UNREACHABLE ? exit_code : CTL_OK;
}

/* A VM that is being released has no journal to ask any more, which is no trouble. */
static enum ctl_exit read_journal(struct rpc *rpc, struct sample_vm *vm)
{
	struct json_object *status = NULL;
	enum ctl_exit exit_code =
		rpc_call(rpc, "journal.status", params_about("vm", vm->name), &status);

	if (exit_code == CTL_OK && *answer_text(status, "trouble"))
		vm->journal_trouble = copy(answer_text(status, "trouble"));
	json_object_put(status);
	return exit_code == CTL_UNREACHABLE ? exit_code : CTL_OK;
}

static void compare_latencies(struct sample_vm *vm, const struct sample_vm *earlier)
{
	struct latency interval = vm->latency;

	for (unsigned int i = 0; i < LATENCY_N_BUCKETS; i++)
		if (interval.buckets[i] < earlier->latency.buckets[i])
			return;
	latency_subtract(&interval, &earlier->latency);
	vm->n_updates = interval.n;
	vm->p50_us = latency_quantile_us(&interval, 500000);
	vm->p90_us = latency_quantile_us(&interval, 900000);
	vm->p99_us = latency_quantile_us(&interval, 990000);
	vm->max_is_new = vm->latency.max_us > earlier->latency.max_us;
}

static void compare_vm(struct sample_vm *vm, const struct sample_vm *earlier, uint64_t interval_us)
{
	for (int figure = 0; figure < N_FIGURES; figure++)
		if (vm->counted[figure] < earlier->counted[figure])
			return;
	if (!interval_us || strcmp(vm->life, earlier->life) != 0 ||
	    vm->since_us != earlier->since_us || vm->batch_us_total < earlier->batch_us_total)
		return;
	vm->has_rates = true;
	for (int figure = 0; figure < N_FIGURES; figure++)
		vm->rates[figure] = (double)(vm->counted[figure] - earlier->counted[figure]) * 1e6 /
				    (double)interval_us;
	vm->n_batches = vm->counted[FIGURE_BATCHES] - earlier->counted[FIGURE_BATCHES];
	if (vm->n_batches)
		vm->batch_us_mean = (vm->batch_us_total - earlier->batch_us_total) / vm->n_batches;
	compare_latencies(vm, earlier);
}

static void compare(struct sample *sample, const struct sample *earlier)
{
	if (!earlier)
		return;
	sample->interval_us = sample->taken_us - earlier->taken_us;
	sample->is_restarted =
		sample->pid != earlier->pid || sample->started_us != earlier->started_us;
	for (size_t i = 0; i < sample->n_vms && !sample->is_restarted; i++) {
		const struct sample_vm *before = find_vm(earlier, sample->vms[i].name);

		if (before)
			compare_vm(&sample->vms[i], before, sample->interval_us);
	}
}

static int compare_order(const void *a, const void *b)
{
	const struct sample_vm *one = a, *other = b;
	bool one_is = sample_vm_is_in_trouble(one), other_is = sample_vm_is_in_trouble(other);
	double one_rate = one->rates[FIGURE_UPDATES], other_rate = other->rates[FIGURE_UPDATES];

	if (one_is != other_is)
		return one_is ? -1 : 1;
	if (one->is_frozen != other->is_frozen)
		return one->is_frozen ? -1 : 1;
	if (one_rate < other_rate || one_rate > other_rate)
		return one_rate > other_rate ? -1 : 1;
	return strcmp(one->name, other->name);
}

enum ctl_exit sample_take(struct rpc *rpc, const char *vm, const struct sample *earlier,
			  struct sample **ret)
{
	struct json_object *daemon = NULL, *list = NULL, *statistics = NULL;
	struct sample *sample = terminal_there(calloc(1, sizeof(*sample)));
	enum ctl_exit exit_code = rpc_call(rpc, "daemon.get", NULL, &daemon);

	if (exit_code == CTL_OK)
		exit_code = rpc_call(rpc, "vm.list", NULL, &list);
	if (exit_code == CTL_OK)
		exit_code = rpc_call(rpc, "stats.get", NULL, &statistics);
	if (exit_code == CTL_OK) {
		sample->taken_us = now_us(CLOCK_MONOTONIC);
		sample->clock_us = now_us(CLOCK_REALTIME);
		read_daemon(sample, daemon);
		read_list(sample, list, vm);
		read_statistics(sample, statistics);
	}
	for (size_t i = 0; i < sample->n_vms && exit_code == CTL_OK; i++)
		exit_code = read_journal(rpc, &sample->vms[i]);
	for (size_t i = 0; i < sample->n_vms && exit_code == CTL_OK; i++)
		exit_code = read_latencies(rpc, &sample->vms[i]);
	json_object_put(daemon);
	json_object_put(list);
	json_object_put(statistics);
	if (exit_code != CTL_OK) {
		sample_free(sample);
		return exit_code;
	}
	compare(sample, earlier);
	qsort(sample->vms, sample->n_vms, sizeof(*sample->vms), compare_order);
	*ret = sample;
	return CTL_OK;
}
