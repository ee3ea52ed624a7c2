/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/integration/lone-agent.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What the simulated kernel speaks: deny. */
#define DENY_WRITE_EXECUTE 6

struct raw_vm vm;
int agent;
struct wire_welcome agent_welcome;

void start_guest(const char *configuration)
{
	start(configuration);
	vm = raw_vm_start(d, "guest");
	agent = raw_vm_open_welcomed_agent(&vm, 1, 0, &agent_welcome);
}

void stop_guest(void)
{
	close(agent);
	raw_vm_close(&vm);
	stop();
}

void resume_agent(uint64_t answered, uint64_t settled)
{
	close(agent);
	agent = raw_resume(d, &agent_welcome, answered, settled);
}

/* ---- Updates of two pages ------------------------------------------------------------------- */

static struct raw_update update_of(uint64_t seqno, uint64_t gfn)
{
	struct raw_update update = raw_make_update(seqno);

	update.gfns[0] = gfn;
	update.gfns[1] = gfn + 1;
	return update;
}

void send_update(uint64_t seqno, uint64_t gfn)
{
	struct raw_update update = update_of(seqno, gfn);

	raw_send(agent, &update, sizeof(update));
}

void expect_done(uint64_t seqno, uint64_t gfn, uint64_t n_pages)
{
	_Alignas(8) uint8_t message[WIRE_MAX_MESSAGE];
	struct wire_called reply = { .n_done = 1 };
	struct wire_calls calls;
	struct wire_call call;
	size_t n = raw_receive_type(vm.executor, WIRE_CALLS, message, NULL);

	ck_assert_ptr_null(wire_get_calls(message, n, &calls));
	ck_assert_uint_eq(calls.n_calls, 1);
	ck_assert_ptr_null(wire_at_call(message, 0, &call));
	ck_assert_uint_eq(call.gpa, gfn << KVMATTR_PAGE_SHIFT);
	ck_assert_uint_eq(call.size, n_pages << KVMATTR_PAGE_SHIFT);
	ck_assert_uint_eq(call.attributes, DENY_WRITE_EXECUTE);
	reply.header = wire_header_make(WIRE_CALLED, sizeof(reply), calls.header.id);
	raw_send(vm.executor, &reply, sizeof(reply));
	if (seqno)
		ck_assert_uint_eq(raw_receive_answer(agent, seqno, NULL), 0);
}

void do_update(uint64_t seqno, uint64_t gfn)
{
	send_update(seqno, gfn);
	expect_done(seqno, gfn, 2);
}

int socket_for_executor(void)
{
	int sockets[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
	close(sockets[0]);
	return sockets[1];
}

bool is_silent(int socket)
{
	char byte;

	return recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0;
}

bool is_session(uint64_t id, const char *state)
{
	struct json_object *result = control_call(control, "vm.get", "{\"vm\":\"guest\"}");
	bool is = !strcmp(state, "gone");

	for (int i = 0; i < 8; i++) {
		char path[40];

		snprintf(path, sizeof(path), "sessions.%d.id", i);
		if (!json_has(result, path) || (uint64_t)json_number_at(result, path) != id)
			continue;
		snprintf(path, sizeof(path), "sessions.%d.state", i);
		is = !strcmp(json_text_at(result, path), state);
	}
	json_object_put(result);
	return is;
}
