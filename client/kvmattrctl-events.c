/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrctl events: what happens, as it happens, line by line.
 *
 * Events have numbers, so whoever misses some is told which.  A daemon that goes away is news, not
 * an error: it is asked again until it is back.  If it is the same one, it goes on behind the last
 * event that was shown; one that was started since counts from 1, and is asked for all of it.
 */
#include "client/kvmattrctl-command.h"
#include "client/kvmattrctl-event-text.h"
#include "client/kvmattrctl-screen.h"
#include "client/kvmattrctl-terminal.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* How long to wait before a daemon that is away is asked again. */
#define RETRY_MS 500u

struct watcher {
	const struct command_input *input;
	uint64_t pid; /* of the daemon, and when it was started: which one it is */
	uint64_t started_us;
	uint64_t next;    /* number of the first event that was not shown; 0: those to come */
	uint64_t n_shown; /* events */
};

/* ---- Lines --------------------------------------------------------------------------------- */

static void put(struct json_object *object, const char *name, struct json_object *value)
{
	if (json_object_object_add(object, name, terminal_there(value)) < 0)
		terminal_there(NULL);
}

/* On a terminal somebody watches, and knows the day. */
static const char *time_text(char buffer[64], uint64_t us)
{
	terminal_time(buffer, us);
	return isatty(STDOUT_FILENO) && strlen(buffer) > 11 ? buffer + 11 : buffer;
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/*
 * What is no event, in words, and as JSON with its name and, if last is not 0, with the numbers of
 * the events that are missing.
 */
__attribute__((format(printf, 5, 6))) static void note(const struct watcher *watcher,
						       const char *name, uint64_t first,
						       uint64_t last, const char *format, ...)
{
	struct json_object *object;
	char when[64], *text;
	va_list arguments;

	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0)
		terminal_there(NULL);
	va_end(arguments);
	if (watcher->input->is_for_people) {
		printf("%s------  %s  %s%s\n", writer_tone_start(WRITER_WARNING),
		       time_text(when, now_us()), text, writer_tone_end(WRITER_WARNING));
	} else if (!watcher->input->is_raw) {
		object = terminal_there(json_object_new_object());
		put(object, "notice", json_object_new_string(name));
		put(object, "time_us", json_object_new_uint64(now_us()));
		put(object, "text", json_object_new_string(text));
		if (last) {
			put(object, "first", json_object_new_uint64(first));
			put(object, "last", json_object_new_uint64(last));
		}
		terminal_write_json_line(stdout, object);
		json_object_put(object);
	}
	fflush(stdout);
	free(text);
}

static void show_event(struct watcher *watcher, struct json_object *params)
{
	const struct command_input *input = watcher->input;
	char when[64], *text, *safe, *vm;
	enum writer_tone tone;

	watcher->next = answer_number(params, "number") + 1;
	watcher->n_shown++;
	if (input->is_for_people) {
		text = event_text(params, &tone);
		safe = terminal_safe(text);
		vm = terminal_safe(answer_text(params, "vm"));
		printf("%6" PRIu64 "  %s  %s%s%s%s%s\n", watcher->next - 1,
		       time_text(when, answer_number(params, "time_us")), vm, *vm ? ": " : "",
		       writer_tone_start(tone), safe, writer_tone_end(tone));
		free(text);
		free(safe);
		free(vm);
	} else if (!input->is_raw) {
		terminal_write_json_line(stdout, params);
	}
	fflush(stdout);
}

/* ---- A subscription ------------------------------------------------------------------------ */

static struct json_object *make_params(const struct watcher *watcher)
{
	const struct command_input *input = watcher->input;
	struct json_object *params = terminal_there(json_object_new_object()), *names;

	if (input->arguments[0])
		params_add_text(params, "vm", input->arguments[0]);
	if (watcher->next)
		params_add_number(params, "since", watcher->next);
	if (!input->n_events)
		return params;
	names = terminal_there(json_object_new_array());
	for (size_t i = 0; i < input->n_events; i++)
		if (json_object_array_add(
			    names, terminal_there(json_object_new_string(input->events[i]))) < 0)
			terminal_there(NULL);
	params_add(params, "events", names);
	return params;
}

/* A daemon that was started since then knows nothing of the numbers of the one before it. */
static enum ctl_exit look_who_it_is(struct watcher *watcher)
{
	struct json_object *daemon = NULL;
	enum ctl_exit exit_code = rpc_call(watcher->input->rpc, "daemon.get", NULL, &daemon);
	bool is_first = !watcher->pid;
	uint64_t pid = answer_number(daemon, "pid");
	uint64_t started_us = answer_number(daemon, "started_us");

	json_object_put(daemon);
	if (exit_code != CTL_OK)
		return exit_code;
	if (!is_first && (pid != watcher->pid || started_us != watcher->started_us)) {
		watcher->next = 1;
		note(watcher, "restarted", 0, 0,
		     "The daemon was restarted, as process %" PRIu64
		     "; its events begin with number 1.",
		     pid);
	} else if (!is_first) {
		note(watcher, "back", 0, 0, "The daemon answers again.");
	}
	watcher->pid = pid;
	watcher->started_us = started_us;
	return CTL_OK;
}

static enum ctl_exit subscribe(struct watcher *watcher)
{
	struct json_object *answer = NULL;
	enum ctl_exit exit_code =
		rpc_call(watcher->input->rpc, "event.subscribe", make_params(watcher), &answer);
	uint64_t oldest;

	if (exit_code != CTL_OK)
		return exit_code;
	oldest = answer_is_null(answer, "oldest") ? answer_number(answer, "next")
						  : answer_number(answer, "oldest");
	if (watcher->next && oldest > watcher->next)
		note(watcher, "forgotten", watcher->next, oldest - 1,
		     "Events %" PRIu64 " to %" PRIu64 " are missing: the daemon has them no more.",
		     watcher->next, oldest - 1);
	/* should it go away before the first event: there is nothing to miss up to here */
	if (!watcher->next)
		watcher->next = answer_number(answer, "next");
	json_object_put(answer);
	return CTL_OK;
}

static enum ctl_exit begin(struct watcher *watcher)
{
	enum ctl_exit exit_code = look_who_it_is(watcher);

	return exit_code == CTL_OK ? subscribe(watcher) : exit_code;
}

/* We read too slowly; the daemon has ended the subscription, and still has some of it. */
static enum ctl_exit take_missed(struct watcher *watcher, struct json_object *params)
{
	uint64_t last = answer_number(params, "last");
	uint64_t n = answer_number(params, "missed");

	note(watcher, "missed", answer_number(params, "first"), last,
	     "%" PRIu64 " %s missed, from %" PRIu64 " to %" PRIu64 ": they were read too slowly.",
	     n, n == 1 ? "event was" : "events were", answer_number(params, "first"), last);
	if (last >= watcher->next)
		watcher->next = last + 1;
	return subscribe(watcher);
}

static enum ctl_exit follow(struct watcher *watcher)
{
	const struct command_input *input = watcher->input;
	enum ctl_exit exit_code = CTL_OK;

	while (exit_code == CTL_OK) {
		struct json_object *message = NULL, *params;

		if ((input->count && watcher->n_shown == input->count) || ferror(stdout))
			break;
		exit_code = rpc_receive(input->rpc, &message);
		params = answer_object(message, "params");
		if (exit_code == CTL_OK && !strcmp(answer_text(message, "method"), "event"))
			show_event(watcher, params);
		else if (exit_code == CTL_OK)
			exit_code = take_missed(watcher, params);
		json_object_put(message);
	}
	return exit_code;
}

/* ---- And after it -------------------------------------------------------------------------- */

/* Until it is back; false if the user has had enough. */
static bool wait_for_daemon(struct watcher *watcher)
{
	enum ctl_exit exit_code = CTL_UNREACHABLE;

	while (exit_code != CTL_OK) {
		if (screen_wait(screen_now_ms() + RETRY_MS) == SCREEN_QUIT)
			return false;
		exit_code = begin(watcher);
		free(terminal_take_complaint());
	}
	return true;
}

static void follow_on(struct watcher *watcher)
{
	for (;;) {
		enum ctl_exit exit_code = follow(watcher);
		char *why = terminal_take_complaint();
		bool is_over = exit_code == CTL_OK || !why; /* the end, or the user */

		free(why);
		if (is_over)
			return;
		note(watcher, "lost", 0, 0,
		     "The daemon has closed the connection; asking again until it answers.");
		if (!wait_for_daemon(watcher))
			return;
	}
}

enum ctl_exit command_events(const struct command_input *input)
{
	struct watcher watcher = { .input = input, .next = input->since };
	enum ctl_exit exit_code = begin(&watcher);

	if (exit_code != CTL_OK)
		return exit_code;
	screen_open(false);
	rpc_yield_to(input->rpc, screen_fd());
	terminal_keep_complaints(true);
	follow_on(&watcher);
	terminal_keep_complaints(false);
	rpc_yield_to(input->rpc, -1);
	screen_close();
	return CTL_OK;
}
