/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Besiegers that never get as far as a VM: a crowd that connects, and senders of what is no
 * message.
 */
#include "protocol/seqpacket.h"
#include "protocol/wire.h"
#include "tests/bench/besieger.h"

#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- A crowd ------------------------------------------------------------------------------- */

/* Half of a crowd of eight have most of what one user may have (max-sessions-per-user), and leave
 * some connections to the control socket for others of their kind. */
#define N_HELD_SESSIONS 800u
#define N_HELD_CLIENTS  2u
#define N_HELD          (N_HELD_SESSIONS + N_HELD_CLIENTS)
#define HOLD_MS         1000u

/* Nothing was asked, so whatever comes says no. */
static bool was_refused(int fd, int timeout_ms)
{
	struct pollfd readable = { .fd = fd, .events = POLLIN };

	return poll(&readable, 1, timeout_ms) > 0;
}

static void come_and_go(struct besieger *besieger)
{
	for (unsigned int i = 0;; i++) {
		int fd = i % 2 ? besieger_connect_agent(besieger)
			       : besieger_connect_control(besieger);

		besieger_count_attack(besieger);
		if (fd < 0)
			besieger_count_refusals(besieger, 1);
		else
			close(fd);
	}
}

static void come_and_stay(struct besieger *besieger)
{
	int fds[N_HELD];

	for (;;) {
		for (unsigned int i = 0; i < N_HELD; i++) {
			fds[i] = i < N_HELD_CLIENTS ? besieger_connect_control(besieger)
						    : besieger_connect_agent(besieger);
			besieger_count_attack(besieger);
		}
		besieger_rest(HOLD_MS);
		for (unsigned int i = 0; i < N_HELD; i++) {
			if (fds[i] < 0 || was_refused(fds[i], 0))
				besieger_count_refusals(besieger, 1);
			if (fds[i] >= 0)
				close(fds[i]);
		}
	}
}

void besiege_in_a_crowd(struct besieger *besieger)
{
	if (besieger->number % 2)
		come_and_stay(besieger);
	come_and_go(besieger);
}

/* ---- Garbage ------------------------------------------------------------------------------- */

#define PATIENCE_MS 100
#define LONGER      4096u /* than any message may be */

static _Alignas(8) uint8_t message[WIRE_MAX_MESSAGE + LONGER];

/* The size of what is in message; *ret_n_fds go with it. */
typedef size_t (*garbage)(struct besieger *besieger, size_t *ret_n_fds);

static size_t anything(struct besieger *besieger, size_t *ret_n_fds)
{
	*ret_n_fds = besieger_throw(besieger, 4);
	for (size_t i = 0; i < sizeof(message); i++)
		message[i] = (uint8_t)besieger_throw(besieger, 256);
	return 1 + besieger_throw(besieger, WIRE_MAX_MESSAGE);
}

static size_t too_long(struct besieger *besieger, size_t *ret_n_fds)
{
	*ret_n_fds = 1;
	return WIRE_MAX_MESSAGE + 1 + besieger_throw(besieger, LONGER);
}

static size_t many_descriptors(struct besieger *besieger, size_t *ret_n_fds)
{
	(void)besieger;
	*ret_n_fds = SEQPACKET_MAX_FDS;
	return 1;
}

/* A header that is right, and a body that may be, more or less. */
static size_t any_request(struct besieger *besieger, size_t *ret_n_fds)
{
	uint16_t type = (uint16_t)(1 + besieger_throw(besieger, WIRE_CALLED + 2));
	size_t size = sizeof(struct wire_header) + 8 * besieger_throw(besieger, 64);
	struct wire_header header = wire_header_make(type, size, besieger_throw(besieger, 3));

	memset(message, 0, size);
	for (size_t i = besieger_throw(besieger, 4); i > 0; i--)
		message[besieger_throw(besieger, size)] = (uint8_t)besieger_throw(besieger, 256);
	memcpy(message, &header, sizeof(header));
	*ret_n_fds = besieger_throw(besieger, 40);
	return size;
}

/* What it names is no VM, or too few, or too many. */
static size_t a_registration(struct besieger *besieger, size_t *ret_n_fds)
{
	struct wire_register registration = { .name = "garbage",
					      .n_views = 2,
					      .n_ram = (uint32_t)besieger_throw(besieger, 2048) };
	size_t size = sizeof(registration) + 2 * sizeof(struct wire_view) +
		      registration.n_ram * sizeof(struct wire_ram);

	memset(message, 0, size);
	registration.header = wire_header_make(WIRE_REGISTER, size, 1);
	memcpy(message, &registration, sizeof(registration));
	*ret_n_fds = 3;
	return size;
}

static size_t a_stolen_session(struct besieger *besieger, size_t *ret_n_fds)
{
	struct wire_resume resume = { .header = wire_header_make(WIRE_RESUME, sizeof(resume), 1),
				      .session = besieger_throw(besieger, 64) };

	for (size_t i = 0; i < WIRE_TOKEN_SIZE; i++)
		resume.token[i] = (uint8_t)besieger_throw(besieger, 256);
	memcpy(message, &resume, sizeof(resume));
	*ret_n_fds = 0;
	return sizeof(resume);
}

static bool say_hello(int fd)
{
	struct wire_hello hello = { .header = wire_header_make(WIRE_HELLO, sizeof(hello), 1),
				    .magic = WIRE_MAGIC,
				    .version_min = WIRE_VERSION,
				    .version_max = WIRE_VERSION,
				    .peer = "besieger" };
	struct iovec part = { &hello, sizeof(hello) };

	return seqpacket_send(fd, &part, 1, NULL, 0, 0) == 0;
}

/* What it says to hello is not waited for. */
static bool is_turned_down(int fd)
{
	struct wire_header header = { .type = WIRE_WELCOME };

	while (header.type == WIRE_WELCOME) {
		if (!was_refused(fd, PATIENCE_MS))
			return false;
		if (recv(fd, &header, sizeof(header), 0) <= 0)
			return true;
	}
	return header.type == WIRE_ERROR || header.type == WIRE_BYE;
}

void besiege_with_garbage(struct besieger *besieger)
{
	static const struct {
		garbage make;
		bool is_after_hello;
	} kinds[] = {
		{ anything, false },        { too_long, false },        { many_descriptors, false },
		{ any_request, false },     { anything, true },         { too_long, true },
		{ many_descriptors, true }, { any_request, true },      { any_request, true },
		{ a_registration, true },   { a_stolen_session, true },
	};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), fds[SEQPACKET_MAX_FDS];

	if (null < 0)
		err(EXIT_FAILURE, "/dev/null");
	for (size_t i = 0; i < SEQPACKET_MAX_FDS; i++)
		fds[i] = null;
	for (size_t i = besieger->number;; i++) {
		size_t kind = i % (sizeof(kinds) / sizeof(kinds[0])), n_fds;
		struct iovec part = { message, kinds[kind].make(besieger, &n_fds) };
		int fd = besieger_connect_agent(besieger);

		besieger_count_attack(besieger);
		if (fd < 0 || (kinds[kind].is_after_hello && !say_hello(fd)) ||
		    seqpacket_send(fd, &part, 1, fds, n_fds, 0) || is_turned_down(fd))
			besieger_count_refusals(besieger, 1);
		if (fd >= 0)
			close(fd);
	}
}
