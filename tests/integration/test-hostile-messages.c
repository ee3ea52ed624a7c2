/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Broken messages on the agent socket: the peer is told which field was wrong and closed, and
 * nothing else happens.
 *
 * What is well-formed and not allowed is in test-hostile-requests.c.
 */
#include "tests/integration/raw-peer.h"
#include "tests/integration/siege.h"

#include <check.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- Good messages, to be spoilt ----------------------------------------------------------- */

enum base { HELLO, REGISTER, UPDATE, QUERY, EXPLAIN, OPEN_AGENT, BYE, N_BASES };

union message {
	uint8_t bytes[WIRE_MAX_MESSAGE];
	struct wire_header header;
	struct wire_hello hello;
	struct raw_register registration;
	struct raw_update update;
	struct wire_query query;
	struct wire_explain explain;
	struct wire_open_agent open_agent;
	struct wire_notice bye;
};

/* Returns its size. */
static size_t make(enum base base, union message *ret)
{
	memset(ret, 0, sizeof(*ret));
	switch (base) {
	case HELLO:
		ret->hello = raw_make_hello();
		break;
	case REGISTER:
		ret->registration = raw_make_register("hostile");
		break;
	case UPDATE:
		ret->update = raw_make_update(2);
		break;
	case QUERY:
		ret->query.header = wire_header_make(WIRE_QUERY, sizeof(ret->query), 9);
		ret->query.n_pages = 16;
		break;
	case EXPLAIN:
		ret->explain.header = wire_header_make(WIRE_EXPLAIN, sizeof(ret->explain), 9);
		break;
	case OPEN_AGENT:
		ret->open_agent.header =
			wire_header_make(WIRE_OPEN_AGENT, sizeof(ret->open_agent), 9);
		break;
	default:
		ret->bye.header = wire_header_make(WIRE_BYE, sizeof(ret->bye), 0);
	}
	return ret->header.size;
}

/* A peer on which that message would be the next good one, and what to close afterwards. */
struct sender {
	struct raw_vm vm;
	bool has_vm;
	int socket;
};

static struct sender find_sender(const struct kvmattrd *d, enum base base)
{
	struct sender sender = { .has_vm = base > REGISTER };

	if (sender.has_vm) {
		sender.vm = raw_vm_start(d, "hostile");
		sender.socket = sender.vm.owner;
		sender.vm.owner = -1;
	} else {
		sender.socket = base == HELLO ? raw_connect(d) : raw_greet(d);
	}
	return sender;
}

/* With the descriptors that belong to it. */
static void send_as(enum base base, int socket, const void *message, size_t size)
{
	int fds[3], sockets[2];

	if (base != REGISTER) {
		raw_send(socket, message, size);
		return;
	}
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
	fds[0] = sockets[1];
	fds[1] = raw_make_vm_fd();
	fds[2] = raw_make_vm_fd();
	raw_send_with_fds(socket, message, size, fds, 3);
	close(sockets[0]);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

static void leave(struct sender *sender)
{
	if (sender->has_vm)
		raw_vm_close(&sender->vm);
}

/* ---- One field at a time ------------------------------------------------------------------- */

#define AT(base, type, member) base, offsetof(type, member), sizeof(((type *)0)->member)

static const struct {
	enum base base;
	size_t offset;
	size_t width;
	uint64_t value;
	const char *field;
} spoilt[] = {
	{ AT(HELLO, struct wire_hello, header.type), WIRE_UPDATE, "hello comes first" },
	{ AT(HELLO, struct wire_hello, header.reserved), 1, "header.reserved" },
	{ AT(HELLO, struct wire_hello, header.size), 63, "header.size" },
	{ AT(HELLO, struct wire_hello, header.size), 65, "header.size" },
	{ AT(HELLO, struct wire_hello, header.size), UINT32_MAX, "header.size" },
	{ AT(HELLO, struct wire_hello, magic), 0x414d564c, "magic" },
	{ AT(HELLO, struct wire_hello, version_min), 2, "version_max" },
	{ AT(HELLO, struct wire_hello, peer[0]), 0x1b, "peer" },
	{ AT(HELLO, struct wire_hello, peer[1]), 0x80, "peer" },

	{ AT(REGISTER, struct raw_register, head.header.reserved), 0x8000, "header.reserved" },
	{ AT(REGISTER, struct raw_register, head.name[3]), '\n', "name" },
	{ AT(REGISTER, struct raw_register, head.name[3]), 0xc3, "name" },
	{ AT(REGISTER, struct raw_register, head.n_views), 0, "n_views" },
	{ AT(REGISTER, struct raw_register, head.n_views), 17, "n_views" },
	{ AT(REGISTER, struct raw_register, head.n_views), UINT32_MAX, "n_views" },
	{ AT(REGISTER, struct raw_register, head.n_views), 1, "header.size" },
	{ AT(REGISTER, struct raw_register, head.n_views), 3, "header.size" },
	{ AT(REGISTER, struct raw_register, head.n_ram), 0, "header.size" },
	{ AT(REGISTER, struct raw_register, head.n_ram), 2, "header.size" },
	{ AT(REGISTER, struct raw_register, head.n_ram), 1025, "n_ram" },
	{ AT(REGISTER, struct raw_register, head.n_ram), UINT32_MAX, "n_ram" },
	{ AT(REGISTER, struct raw_register, views[1].vtl), 16, "view.vtl" },
	{ AT(REGISTER, struct raw_register, views[0].abi), KVMATTR_N_ABIS, "view.abi" },
	{ AT(REGISTER, struct raw_register, views[0].has_stats), 2, "view.has_stats" },
	{ AT(REGISTER, struct raw_register, views[0].reserved), 1, "view.reserved" },
	{ AT(REGISTER, struct raw_register, views[1].reserved2), 1, "view.reserved" },
	{ AT(REGISTER, struct raw_register, views[1].supported), 8, "view.supported" },
	{ AT(REGISTER, struct raw_register, ram[0].private), 2, "ram.private" },
	{ AT(REGISTER, struct raw_register, ram[0].reserved), 1, "ram.reserved" },

	{ AT(UPDATE, struct raw_update, head.header.type), 0, "header.type" },
	{ AT(UPDATE, struct raw_update, head.header.reserved), 1, "header.reserved" },
	{ AT(UPDATE, struct raw_update, head.header.id), 0, "header.id" },
	{ AT(UPDATE, struct raw_update, head.header.id), 1, "header.id" },
	{ AT(UPDATE, struct raw_update, head.header.id), 3, "header.id" },
	{ AT(UPDATE, struct raw_update, head.header.id), UINT64_MAX, "header.id" },
	{ AT(UPDATE, struct raw_update, head.reserved), 1, "reserved" },
	{ AT(UPDATE, struct raw_update, head.n_updates), 0, "n_updates" },
	{ AT(UPDATE, struct raw_update, head.n_updates), 2, "n_updates" },
	{ AT(UPDATE, struct raw_update, head.n_updates), 3, "n_updates" },
	{ AT(UPDATE, struct raw_update, head.n_updates), UINT32_MAX, "n_updates" },
	{ AT(UPDATE, struct raw_update, update.kind), 0, "update.kind" },
	{ AT(UPDATE, struct raw_update, update.kind), KVMATTR_N_UPDATE_KINDS, "update.kind" },
	{ AT(UPDATE, struct raw_update, update.kind), 255, "update.kind" },
	{ AT(UPDATE, struct raw_update, update.form), WIRE_FORM_NONE, "update.n_elements" },
	{ AT(UPDATE, struct raw_update, update.form), WIRE_FORM_RANGES, "update.n_elements" },
	{ AT(UPDATE, struct raw_update, update.form), 3, "update.form" },
	{ AT(UPDATE, struct raw_update, update.mbec), 2, "update.mbec" },
	{ AT(UPDATE, struct raw_update, update.reserved), 0x80, "update.reserved" },
	{ AT(UPDATE, struct raw_update, update.reserved2), 1, "update.reserved" },
	{ AT(UPDATE, struct raw_update, update.n_elements), 0, "update.n_elements" },
	{ AT(UPDATE, struct raw_update, update.n_elements), 1, "n_updates" },
	{ AT(UPDATE, struct raw_update, update.n_elements), 3, "update.n_elements" },
	{ AT(UPDATE, struct raw_update, update.n_elements), 0x20000002, "update.n_elements" },
	{ AT(UPDATE, struct raw_update, update.n_elements), UINT32_MAX, "update.n_elements" },

	{ AT(QUERY, struct wire_query, header.reserved), 1, "header.reserved" },
	{ AT(EXPLAIN, struct wire_explain, access), 0x10, "access" },
	{ AT(EXPLAIN, struct wire_explain, reserved), 1, "reserved" },
	{ AT(EXPLAIN, struct wire_explain, reserved2), 1, "reserved" },
	{ AT(OPEN_AGENT, struct wire_open_agent, header.reserved), 1, "header.reserved" },
	{ AT(BYE, struct wire_notice, status), KVMATTR_N_STATUSES, "status" },
	{ AT(BYE, struct wire_notice, closing), 2, "closing" },
};

START_TEST(a_message_with_one_wrong_field_is_answered_with_its_name_and_the_end)
{
	struct siege siege = siege_begin(NULL);
	struct sender sender = find_sender(siege.daemon, spoilt[_i].base);
	static union message message;
	size_t size = make(spoilt[_i].base, &message);

	memcpy(message.bytes + spoilt[_i].offset, &spoilt[_i].value, spoilt[_i].width);
	send_as(spoilt[_i].base, sender.socket, &message, size);
	raw_expect_broken(sender.socket, spoilt[_i].field);
	leave(&sender);
	siege_end(&siege);
}
END_TEST

START_TEST(names_that_do_not_end_are_refused)
{
	struct siege siege = siege_begin(NULL);
	enum base bases[] = { HELLO, REGISTER, BYE };
	static union message message;

	for (int i = 0; i < N(bases); i++) {
		struct sender sender = find_sender(siege.daemon, bases[i]);
		size_t size = make(bases[i], &message);

		if (bases[i] == HELLO)
			memset(message.hello.peer, 'x', sizeof(message.hello.peer));
		else if (bases[i] == REGISTER)
			memset(message.registration.head.name, 'x',
			       sizeof(message.registration.head.name));
		else
			memset(message.bye.text, 'x', sizeof(message.bye.text));
		send_as(bases[i], sender.socket, &message, size);
		raw_expect_broken(sender.socket, bases[i] == HELLO      ? "peer"
						 : bases[i] == REGISTER ? "name"
									: "text");
		leave(&sender);
	}
	siege_end(&siege);
}
END_TEST

/* ---- Cut ----------------------------------------------------------------------------------- */

START_TEST(a_message_cut_anywhere_is_a_broken_protocol_whatever_its_header_says)
{
	struct siege siege = siege_begin(NULL);
	enum base base = (enum base)(_i / 2);
	bool says_so = _i % 2; /* the header has the size that is sent */
	static union message message;
	size_t size = make(base, &message);

	for (size_t n = 1; n < size; n++) {
		struct sender sender = find_sender(siege.daemon, base);

		make(base, &message);
		if (says_so)
			message.header.size = (uint32_t)n;
		send_as(base, sender.socket, &message, n);
		raw_expect_broken(sender.socket, "protocol broken: field ");
		leave(&sender);
	}
	siege_end(&siege);
}
END_TEST

START_TEST(an_empty_message_is_refused_as_such)
{
	struct siege siege = siege_begin(NULL);
	int peer = raw_connect(siege.daemon);

	raw_send(peer, "", 0);
	raw_expect_broken(peer, "a message has 16 to 65536 bytes");
	peer = raw_greet(siege.daemon);
	raw_send(peer, "", 0);
	raw_expect_broken(peer, "a message has 16 to 65536 bytes");
	siege_end(&siege);
}
END_TEST

/* ---- Types and sizes ----------------------------------------------------------------------- */

START_TEST(a_type_that_no_peer_may_send_is_refused_before_and_after_hello)
{
	static const uint16_t types[] = { 0,
					  WIRE_WELCOME,
					  WIRE_ERROR,
					  WIRE_REGISTERED,
					  WIRE_ANSWER,
					  WIRE_RUNS,
					  WIRE_EXPLAINED,
					  15,
					  WIRE_AGENT_OPENED,
					  WIRE_PROBE,
					  WIRE_PROBED,
					  WIRE_CALLS,
					  WIRE_CALLED,
					  36,
					  255,
					  0x0100 | WIRE_UPDATE,
					  UINT16_MAX };
	struct siege siege = siege_begin(NULL);

	for (int i = 0; i < N(types); i++) {
		struct wire_header header = wire_header_make(types[i], sizeof(header), 2);
		struct raw_vm vm = raw_vm_start(siege.daemon, "hostile");
		int peer = raw_connect(siege.daemon);

		raw_send(peer, &header, sizeof(header));
		raw_expect_broken(peer, "header.type (hello comes first)");
		peer = raw_greet(siege.daemon);
		raw_send(peer, &header, sizeof(header));
		raw_expect_broken(peer, "header.type");
		peer = raw_vm_open_agent(&vm, 1, 0);
		raw_send(peer, &header, sizeof(header));
		raw_expect_broken(peer, "header.type");
		raw_send(vm.owner, &header, sizeof(header));
		raw_expect_broken(vm.owner, "header.type");
		vm.owner = -1;
		raw_vm_close(&vm);
	}
	siege_end(&siege);
}
END_TEST

START_TEST(hello_is_said_once)
{
	struct siege siege = siege_begin(NULL);
	struct wire_hello hello = raw_make_hello();
	struct raw_vm vm = raw_vm_start(siege.daemon, "hostile");
	int peer = raw_greet(siege.daemon), agent = raw_vm_open_agent(&vm, 1, 0);

	raw_send(peer, &hello, sizeof(hello));
	raw_expect_broken(peer, "header.type");
	raw_send(agent, &hello, sizeof(hello));
	raw_expect_broken(agent, "header.type");
	raw_expect_alive(vm.owner);
	raw_vm_close(&vm);
	siege_end(&siege);
}
END_TEST

START_TEST(versions_without_ours_are_told_which_there_is)
{
	struct siege siege = siege_begin(NULL);
	struct wire_hello hello = raw_make_hello();
	int peer = raw_connect(siege.daemon);

	hello.version_min = 2;
	hello.version_max = UINT16_MAX;
	raw_send(peer, &hello, sizeof(hello));
	raw_expect_closed(peer, KVMATTR_VERSION_MISMATCH, "speaks version 1 of the protocol");
	peer = raw_connect(siege.daemon);
	hello.version_min = 0;
	hello.version_max = 0;
	raw_send(peer, &hello, sizeof(hello));
	raw_expect_closed(peer, KVMATTR_VERSION_MISMATCH, "the peer 0 to 0");
	/* A peer that speaks others, too, is welcome. */
	peer = raw_connect(siege.daemon);
	hello.version_max = 7;
	raw_send(peer, &hello, sizeof(hello));
	raw_receive_type(peer, WIRE_WELCOME, (union message[1]){ 0 }, NULL);
	close(peer);
	siege_end(&siege);
}
END_TEST

START_TEST(a_message_that_is_too_large_is_refused_as_such)
{
	static uint8_t large[2 * WIRE_MAX_MESSAGE];
	static const size_t sizes[] = { WIRE_MAX_MESSAGE + 1, WIRE_MAX_MESSAGE + 4096,
					2 * WIRE_MAX_MESSAGE };
	struct siege siege = siege_begin(NULL);

	for (int i = 0; i < N(sizes); i++) {
		struct wire_header header = { .type = WIRE_UPDATE,
					      .size = (uint32_t)sizes[i],
					      .id = 1 };
		int peer = raw_greet(siege.daemon);

		memcpy(large, &header, sizeof(header));
		raw_send(peer, large, sizes[i]);
		raw_expect_broken(peer, "a message has 16 to 65536 bytes");
	}
	siege_end(&siege);
}
END_TEST

START_TEST(messages_of_random_bytes_break_the_protocol)
{
	enum { N_ROUNDS = 400 };
	struct siege siege = siege_begin(NULL);
	uint64_t seed = 4711;
	static union message message;

	for (int round = 0; round < N_ROUNDS; round++) {
		enum base base = (enum base)(next_random(&seed) % N_BASES);
		int peer = raw_greet(siege.daemon);
		size_t size = make(base, &message);

		/* A header that is right, so that what is behind it is looked at. */
		for (size_t i = sizeof(message.header); i < size; i++)
			if (next_random(&seed) % 4 == 0)
				message.bytes[i] = (uint8_t)next_random(&seed);
		send_as(base, peer, &message, size);
		close(peer);
	}
	siege_end(&siege);
}
END_TEST

/* ---- Descriptors --------------------------------------------------------------------------- */

START_TEST(descriptors_that_do_not_belong_to_a_message_are_refused_and_closed)
{
	static const size_t numbers[] = { 1, 2, 17, 18, SEQPACKET_MAX_FDS };
	struct siege siege = siege_begin(NULL);
	size_t n = numbers[_i];
	int fds[SEQPACKET_MAX_FDS];
	static union message message;

	for (size_t i = 0; i < n; i++)
		fds[i] = raw_make_vm_fd();
	for (enum base base = HELLO; base < N_BASES; base++) {
		struct sender sender = find_sender(siege.daemon, base);
		size_t size = make(base, &message);

		raw_send_with_fds(sender.socket, &message, size, fds, n);
		if (base == BYE) {
			/* It has gone by then. */
			raw_expect_closed(sender.socket, KVMATTR_NO_VM, "goodbye");
		} else {
			struct wire_header header;
			int got = -1;

			/* The answer to a good message, then the end. */
			for (;;) {
				struct seqpacket_fds with;
				ssize_t received = seqpacket_receive(sender.socket, &message,
								     sizeof(message), &with, 0);

				if (received == -ECONNRESET)
					continue;
				ck_assert_int_ge(received, 0);
				if (!received)
					break;
				seqpacket_fds_close(&with);
				ck_assert_ptr_null(
					wire_get_header(&message, (size_t)received, &header));
				got = header.type;
			}
			ck_assert_int_eq(got, WIRE_ERROR);
			ck_assert_msg(strstr(message.bye.text, "file descriptors"), "%s",
				      message.bye.text);
			close(sender.socket);
		}
		leave(&sender);
	}
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
	siege_end(&siege);
}
END_TEST

int main(void)
{
	TCase *fields = harness_make_case("fields", 20);
	TCase *cut = harness_make_case("cut", 60);
	TCase *types = harness_make_case("types and sizes", 60);
	TCase *descriptors = harness_make_case("descriptors", 20);

	tcase_add_loop_test(fields,
			    a_message_with_one_wrong_field_is_answered_with_its_name_and_the_end, 0,
			    N(spoilt));
	tcase_add_test(fields, names_that_do_not_end_are_refused);
	tcase_add_loop_test(cut,
			    a_message_cut_anywhere_is_a_broken_protocol_whatever_its_header_says, 0,
			    2 * N_BASES);
	tcase_add_test(cut, an_empty_message_is_refused_as_such);
	tcase_add_test(types, a_type_that_no_peer_may_send_is_refused_before_and_after_hello);
	tcase_add_test(types, hello_is_said_once);
	tcase_add_test(types, versions_without_ours_are_told_which_there_is);
	tcase_add_test(types, a_message_that_is_too_large_is_refused_as_such);
	tcase_add_test(types, messages_of_random_bytes_break_the_protocol);
	tcase_add_loop_test(descriptors,
			    descriptors_that_do_not_belong_to_a_message_are_refused_and_closed, 0,
			    5);
	return harness_run("hostile messages",
			   (TCase *const[]){ fields, cut, types, descriptors, NULL });
}
