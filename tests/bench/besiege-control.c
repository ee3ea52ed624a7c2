/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Besiegers of the control socket: JSON that nobody should have to read, and clients that do not
 * read themselves.
 */
#include "protocol/wire.h"
#include "tests/bench/besieger.h"
#include "tests/bench/hostile-vm.h"

#include <err.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TEXT_SIZE (4u << 20)
#define MAX_BATCH 1000u /* the daemon's */

static char *text; /* what is sent */

static void make_text(void)
{
	text = malloc(TEXT_SIZE + 1);
	if (!text)
		err(EXIT_FAILURE, "no memory");
}

/* n times the same, in text from there on.  Returns where it ends. */
static size_t repeat(size_t at, const char *part, unsigned int n)
{
	size_t length = strlen(part);

	while (n-- && at + length < TEXT_SIZE) {
		memcpy(text + at, part, length);
		at += length;
	}
	return at;
}

static size_t batch_of(const char *call, unsigned int n)
{
	size_t at = repeat(0, "[", 1);

	while (--n)
		at = repeat(repeat(at, call, 1), ",", 1);
	return repeat(repeat(at, call, 1), "]\n", 1);
}

/* What was answered so far is read, and its errors are counted.  False: the daemon has closed. */
static bool take_answers(struct besieger *besieger, int fd, int timeout_ms)
{
	struct pollfd readable = { .fd = fd, .events = POLLIN };
	static char answer[1 << 16];

	while (poll(&readable, 1, timeout_ms) > 0) {
		ssize_t n = recv(fd, answer, sizeof(answer) - 1, 0);

		if (n <= 0)
			return false;
		answer[n] = '\0';
		besieger_count_errors(besieger, answer);
	}
	return true;
}

/* ---- JSON ---------------------------------------------------------------------------------- */

#define CALL        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"daemon.get\"}"
#define ANSWER_MS   20
#define PIECE_BYTES 65536u

/* Each makes a text and returns its size. */
static size_t deep(void)
{
	return repeat(repeat(0, "[", TEXT_SIZE / 2), "\n", 1);
}

static size_t deep_in_a_call(void)
{
	size_t at = repeat(0, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.get\",\"params\":", 1);

	at = repeat(at, "{\"a\":", 30);
	at = repeat(at, "1", 1);
	return repeat(repeat(at, "}", 31), "\n", 1);
}

/* One string without an end, as long as it gets. */
static size_t huge(void)
{
	return repeat(repeat(repeat(0, "\"", 1), "x", TEXT_SIZE - 3), "\n", 1);
}

/* Just below what one request may have: many members, whose names are compared. */
static size_t wide(void)
{
	size_t at =
		repeat(0, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.get\",\"params\":{", 1);

	for (unsigned int i = 0; i < 17000; i++)
		at += (size_t)sprintf(text + at, "\"m%u\":%u,", i, i % 10);
	return repeat(at, "\"vm\":\"bench\"}}\n", 1);
}

static size_t wrong(void)
{
	return repeat(0, "{\"jsonrpc\":\"2.0\",\"method\":}\nvm.list\n{\"a\":1}\n[]\n\"\xff\"\n",
		      2000);
}

static size_t too_many_calls(void)
{
	return batch_of(CALL, 5 * MAX_BATCH);
}

static size_t many_calls(void)
{
	return batch_of(CALL, MAX_BATCH);
}

static size_t one_call(void)
{
	return repeat(0, CALL "\n", 1);
}

static bool send_text(struct besieger *besieger, int fd, size_t size, size_t piece)
{
	for (size_t sent = 0; sent < size;) {
		ssize_t n = send(fd, text + sent, size - sent < piece ? size - sent : piece,
				 MSG_DONTWAIT);

		if (n > 0)
			sent += (size_t)n;
		if (!take_answers(besieger, fd, n > 0 ? 0 : 1))
			return false;
	}
	return true;
}

void besiege_with_json(struct besieger *besieger)
{
	static const struct {
		size_t (*make)(void);
		size_t piece;
	} kinds[] = {
		{ deep, PIECE_BYTES },  { deep_in_a_call, PIECE_BYTES },
		{ huge, PIECE_BYTES },  { wide, PIECE_BYTES },
		{ wrong, PIECE_BYTES }, { too_many_calls, PIECE_BYTES },
		{ many_calls, 1000 },   { one_call, 1 },
		{ wide, 100 },
	};
	int fd = -1;

	make_text();
	for (size_t i = besieger->number;; i++) {
		size_t kind = i % (sizeof(kinds) / sizeof(kinds[0]));

		if (fd < 0)
			fd = besieger_connect_control(besieger);
		besieger_count_attack(besieger);
		if (fd >= 0 && send_text(besieger, fd, kinds[kind].make(), kinds[kind].piece) &&
		    take_answers(besieger, fd, ANSWER_MS))
			continue;
		besieger_count_refusals(besieger, 1);
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
}

/* ---- Those who do not read ----------------------------------------------------------------- */

#define STILL_MS 500u /* what they do with a socket that takes no more */
#define N_RUNS   8000u

/* Until the socket takes no more; the daemon may have closed it. */
static void push(struct besieger *besieger, int fd, const void *request, size_t size)
{
	while (send(fd, request, size, MSG_DONTWAIT) == (ssize_t)size)
		besieger_count_attack(besieger);
}

static void be_deaf_to_answers(struct besieger *besieger, const char *call)
{
	size_t size = batch_of(call, MAX_BATCH);

	for (;;) {
		int fd = besieger_connect_control(besieger);

		if (fd >= 0)
			push(besieger, fd, text, size);
		besieger_rest(STILL_MS);
		if (fd < 0 || send(fd, "\n", 1, MSG_DONTWAIT) < 0)
			besieger_count_refusals(besieger, 1);
		if (fd >= 0)
			close(fd);
	}
}

/* From the first event on that is kept. */
static void be_deaf_to_events(struct besieger *besieger)
{
	static const char call[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"event.subscribe\","
				   "\"params\":{\"since\":1}}\n";

	for (;;) {
		int fd = besieger_connect_control(besieger);

		besieger_count_attack(besieger);
		if (fd < 0 || send(fd, call, sizeof(call) - 1, MSG_DONTWAIT) < 0)
			besieger_count_refusals(besieger, 1);
		besieger_rest(STILL_MS);
		if (fd >= 0)
			close(fd);
	}
}

/* An owner that asks for the runs of all RAM, of which it has made many. */
static void be_deaf_to_runs(struct besieger *besieger)
{
	const struct wire_update protect = { .kind = KVMATTR_PROTECT,
					     .form = WIRE_FORM_PAGES,
					     .layer = 1,
					     .value = KVMATTR_R,
					     .restricted = KVMATTR_ALL_LOWER,
					     .n_elements = N_RUNS };
	const struct wire_query query = { .header = wire_header_make(WIRE_QUERY, sizeof(query), 1),
					  .n_pages = HOSTILE_VM_PAGES };
	struct hostile_vm vm;

	for (uint32_t i = 0; i < N_RUNS; i++)
		hostile_elements.gfns[i] = 2 * i;
	for (;;) {
		if (hostile_vm_start(&vm, besieger, "deaf") && hostile_vm_update(&vm, protect) &&
		    hostile_vm_finish(&vm)) {
			push(besieger, vm.owner, &query, sizeof(query));
			besieger_rest(STILL_MS);
		}
		hostile_vm_end(&vm);
	}
}

void besiege_without_reading(struct besieger *besieger)
{
	make_text();
	switch (besieger->number % 4) {
	case 0:
		be_deaf_to_answers(besieger,
				   "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"rpc.discover\"}");
		break;
	case 1:
		be_deaf_to_answers(besieger,
				   "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"map.effective\","
				   "\"params\":{\"vm\":\"bench\",\"limit\":1024}}");
		break;
	case 2:
		be_deaf_to_events(besieger);
		break;
	default:
		be_deaf_to_runs(besieger);
	}
}
