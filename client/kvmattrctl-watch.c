/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl watch: what goes on, interval by interval.
 *
 * On a terminal it is a screen that fits; in a pipe a line for each VM and interval; as JSON an
 * object for each interval.  A daemon that goes away while it is watched is news, not an error:
 * that is said, and when it is back, too.
 */
#include "client/kvmattrctl-watch.h"
#include "client/kvmattrctl-command.h"
#include "client/kvmattrctl-sample.h"
#include "client/kvmattrctl-screen.h"
#include "client/kvmattrctl-terminal.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* On a screen the first rates are not waited for that long. */
#define FIRST_INTERVAL_MS 500

/* ---- In a pipe ----------------------------------------------------------------------------- */

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static const char *now_text(char *buffer)
{
	return terminal_time(buffer, now_us());
}

/* "-" where there is none; whole and ungrouped, for awk. */
static const char *plain_rate(char buffer[32], const struct sample_vm *vm, enum figure figure)
{
	if (vm->has_rates)
		snprintf(buffer, 32,
			 vm->rates[figure] > 0 && vm->rates[figure] < 10 ? "%.1f" : "%.0f",
			 vm->rates[figure]);
	else
		snprintf(buffer, 32, "-");
	return buffer;
}

/* Of the interval's updates. */
static const char *plain_us(char buffer[32], const struct sample_vm *vm, uint64_t us)
{
	if (vm->n_updates)
		snprintf(buffer, 32, "%" PRIu64, us);
	else
		snprintf(buffer, 32, "-");
	return buffer;
}

static void print_vm(const struct sample *sample, const struct sample_vm *vm)
{
	char when[64], updates[32], pages[32], calls[32], batches[32], p50[32], p90[32], p99[32];
	char *name = terminal_safe(vm->name), *state = terminal_safe(sample_vm_state(vm));
	char *trouble = terminal_safe(vm->journal_trouble ? vm->journal_trouble : "ok");

	printf("%-19s  %-16s  %-9s  %9s  %10s  %9s  %9s  %8s  %8s  %8s  %8" PRIu64 "  %5" PRIu64
	       "  %7" PRIu64 "  %s\n",
	       terminal_time(when, sample->clock_us), name, state,
	       plain_rate(updates, vm, FIGURE_UPDATES), plain_rate(pages, vm, FIGURE_PAGES),
	       plain_rate(calls, vm, FIGURE_CALLS), plain_rate(batches, vm, FIGURE_BATCHES),
	       plain_us(p50, vm, vm->p50_us), plain_us(p90, vm, vm->p90_us),
	       plain_us(p99, vm, vm->p99_us), vm->latency.max_us, vm->queue, vm->n_unknown,
	       trouble);
	free(name);
	free(state);
	free(trouble);
}

static void print_lines(struct watch *watch)
{
	const struct sample *sample = watch->sample;
	char when[64];

	if (!watch->is_there)
		return;
	if (!watch->n_shown++)
		printf("%-19s  %-16s  %-9s  %9s  %10s  %9s  %9s  %8s  %8s  %8s  %8s  %5s  %7s  "
		       "%s\n",
		       "TIME", "VM", "STATE", "UPDATES/S", "PAGES/S", "CALLS/S", "BATCHES/S",
		       "P50_US", "P90_US", "P99_US", "MAX_US", "QUEUE", "UNKNOWN", "JOURNAL");
	for (size_t i = 0; i < sample->n_vms; i++)
		print_vm(sample, &sample->vms[i]);
	if (!sample->n_vms)
		printf("%-19s  %s\n", terminal_time(when, sample->clock_us), watch_nobody(watch));
	fflush(stdout);
}

const char *watch_nobody(const struct watch *watch)
{
	return watch->input->arguments[0] ? "This VM is not registered any more."
					  : "No VM is registered.";
}

/* ---- As JSON ------------------------------------------------------------------------------- */

static void put(struct json_object *object, const char *name, struct json_object *value)
{
	if (json_object_object_add(object, name, value) < 0)
		terminal_there(NULL);
}

static void put_number(struct json_object *object, const char *name, uint64_t number)
{
	put(object, name, terminal_there(json_object_new_uint64(number)));
}

static void put_text(struct json_object *object, const char *name, const char *text)
{
	put(object, name, text ? terminal_there(json_object_new_string(text)) : NULL);
}

static void put_boolean(struct json_object *object, const char *name, bool boolean)
{
	put(object, name, terminal_there(json_object_new_boolean(boolean)));
}

static void put_rate(struct json_object *object, const char *name, const struct sample_vm *vm,
		     enum figure figure)
{
	char digits[32];

	snprintf(digits, sizeof(digits), "%.1f", vm->rates[figure]);
	put(object, name,
	    vm->has_rates ? terminal_there(json_object_new_double_s(vm->rates[figure], digits))
			  : NULL);
}

/* Percentiles of the interval, null where it had no update; the longest of all. */
static void put_latency(struct json_object *object, const struct sample_vm *vm)
{
	const struct {
		const char *name;
		uint64_t us;
	} percentiles[] = {
		{ "latency_p50_us", vm->p50_us },
		{ "latency_p90_us", vm->p90_us },
		{ "latency_p99_us", vm->p99_us },
	};

	for (size_t i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++)
		put(object, percentiles[i].name,
		    vm->n_updates ? terminal_there(json_object_new_uint64(percentiles[i].us))
				  : NULL);
	put_number(object, "latency_max_us", vm->latency.max_us);
	put_boolean(object, "latency_max_is_new", vm->max_is_new);
}

static struct json_object *new_vm(const struct sample_vm *vm)
{
	struct json_object *object = terminal_there(json_object_new_object());

	put_text(object, "vm", vm->name);
	put_text(object, "state", vm->state);
	put_boolean(object, "degraded", vm->is_degraded);
	put_number(object, "unknown_pages", vm->n_unknown);
	put_number(object, "queue", vm->queue);
	put_number(object, "sessions", vm->n_sessions);
	put_number(object, "detached_sessions", vm->n_detached);
	put_number(object, "updates_failed", vm->n_failed);
	put_rate(object, "updates_per_s", vm, FIGURE_UPDATES);
	put_rate(object, "pages_per_s", vm, FIGURE_PAGES);
	put_rate(object, "calls_per_s", vm, FIGURE_CALLS);
	put_rate(object, "batches_per_s", vm, FIGURE_BATCHES);
	put(object, "batch_mean_us",
	    vm->n_batches ? terminal_there(json_object_new_uint64(vm->batch_us_mean)) : NULL);
	put_number(object, "batch_max_us", vm->batch_us_max);
	put_latency(object, vm);
	put_text(object, "journal_trouble", vm->journal_trouble);
	return object;
}

static struct json_object *new_daemon(const struct sample *sample)
{
	struct json_object *object = terminal_there(json_object_new_object());

	put_text(object, "version", sample->version);
	put_number(object, "pid", sample->pid);
	put_number(object, "uptime_us", sample->uptime_us);
	put_boolean(object, "restarted", sample->is_restarted);
	return object;
}

static void print_json(struct watch *watch)
{
	const struct sample *sample = watch->sample;
	struct json_object *object = terminal_there(json_object_new_object());
	struct json_object *vms = terminal_there(json_object_new_array());

	put_number(object, "time_us", watch->is_there ? sample->clock_us : now_us());
	put_number(object, "interval_us", watch->is_there ? sample->interval_us : 0);
	put(object, "daemon", watch->is_there ? new_daemon(sample) : NULL);
	put_text(object, "trouble", watch->is_there ? NULL : watch->why);
	for (size_t i = 0; watch->is_there && i < sample->n_vms; i++)
		if (json_object_array_add(vms, new_vm(&sample->vms[i])) < 0)
			terminal_there(NULL);
	put(object, "vms", vms);
	terminal_write_json_line(stdout, object);
	fflush(stdout);
	json_object_put(object);
}

/* ---- One interval after the other ---------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void note(struct watch *watch, const char *format, ...)
{
	char when[64];
	va_list arguments;

	free(watch->notice);
	va_start(arguments, format);
	if (vasprintf(&watch->notice, format, arguments) < 0)
		terminal_there(NULL);
	va_end(arguments);
	if (watch->input->is_for_people && !screen_is_there()) {
		printf("%-19s  %s\n", now_text(when), watch->notice);
		fflush(stdout);
	}
}

static void lose(struct watch *watch, char *why)
{
	char when[64];

	free(watch->why);
	watch->why = why;
	if (watch->is_there)
		note(watch, "The daemon has not answered since %s; asking again until it does.",
		     now_text(when));
	watch->is_there = false;
}

static void take(struct watch *watch, struct sample *sample)
{
	char when[64];

	if (sample->is_restarted)
		note(watch, "The daemon was restarted: process %" PRIu64 ", since %s.", sample->pid,
		     terminal_time(when, sample->started_us));
	else if (!watch->is_there)
		note(watch, "The daemon answers again, process %" PRIu64 ", at %s.", sample->pid,
		     now_text(when));
	watch->is_there = true;
	sample_free(watch->sample);
	watch->sample = sample;
}

/* Returns false if the user was faster. */
static bool look(struct watch *watch)
{
	const struct command_input *input = watch->input;
	struct sample *sample = NULL;
	enum ctl_exit exit_code =
		sample_take(input->rpc, input->arguments[0], watch->sample, &sample);
	char *why = terminal_take_complaint();

	if (exit_code == CTL_OK) {
		free(why);
		take(watch, sample);
	} else if (why) {
		lose(watch, why);
	}
	return exit_code == CTL_OK || why;
}

static void show(struct watch *watch)
{
	if (!watch->input->is_for_people)
		print_json(watch);
	else if (screen_is_there())
		watch_draw(watch);
	else
		print_lines(watch);
}

static void watch_on(struct watch *watch)
{
	const struct command_input *input = watch->input;
	uint64_t n = 0, next_ms = screen_now_ms();
	enum screen_event event;

	next_ms += screen_is_there() && input->interval_ms > FIRST_INTERVAL_MS ? FIRST_INTERVAL_MS
									       : input->interval_ms;
	if (screen_is_there())
		watch_draw(watch);
	while ((event = screen_wait(next_ms)) != SCREEN_QUIT) {
		if (event == SCREEN_CHANGED) {
			watch_draw(watch);
			continue;
		}
		/* whatever stopped it is an event now, and then it is tried again */
		if (!look(watch))
			continue;
		show(watch);
		if (++n == input->count || ferror(stdout))
			return;
		next_ms += input->interval_ms;
		if (next_ms < screen_now_ms())
			next_ms = screen_now_ms() + input->interval_ms;
	}
}

/* What is to be watched has to be there at the start; a name that was mistyped never will be. */
static enum ctl_exit begin(struct watch *watch)
{
	const struct command_input *input = watch->input;
	struct json_object *vm = NULL;
	enum ctl_exit exit_code = CTL_OK;

	if (input->arguments[0]) {
		exit_code = rpc_call(input->rpc, "vm.get", params_about("vm", input->arguments[0]),
				     &vm);
		json_object_put(vm);
	}
	if (exit_code == CTL_OK)
		exit_code = sample_take(input->rpc, input->arguments[0], NULL, &watch->sample);
	watch->is_there = exit_code == CTL_OK;
	return exit_code;
}

enum ctl_exit command_watch(const struct command_input *input)
{
	struct watch watch = { .input = input };
	enum ctl_exit exit_code = begin(&watch);

	if (exit_code != CTL_OK)
		return exit_code;
	screen_open(input->is_for_people);
	rpc_yield_to(input->rpc, screen_fd());
	terminal_keep_complaints(true);
	watch_on(&watch);
	terminal_keep_complaints(false);
	rpc_yield_to(input->rpc, -1);
	screen_close();
	sample_free(watch.sample);
	free(watch.notice);
	free(watch.why);
	return CTL_OK;
}
