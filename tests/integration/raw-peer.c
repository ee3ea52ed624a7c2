/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/integration/raw-peer.h"

#include "protocol/kvm-abi.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RECEIVE_TIMEOUT_MS 10000

/* ---- Sockets ------------------------------------------------------------------------------- */

int raw_connect(const struct kvmattrd *d)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", d->agent_socket);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

void raw_send_with_fds(int socket, const void *message, size_t size, const int *fds, size_t n)
{
	struct iovec part = { (void *)message, size };
	int r = seqpacket_send(socket, &part, 1, fds, n, 0);

	ck_assert_msg(r == 0 || r == -EPIPE || r == -ECONNRESET, "cannot send: %s", strerror(-r));
}

void raw_send(int socket, const void *message, size_t size)
{
	raw_send_with_fds(socket, message, size, NULL, 0);
}

static size_t receive(int socket, void *ret_message, struct seqpacket_fds *fds)
{
	struct pollfd readable = { .fd = socket, .events = POLLIN };
	ssize_t n;

	ck_assert_msg(poll(&readable, 1, RECEIVE_TIMEOUT_MS * (int)harness_patience()) == 1,
		      "nothing comes from the daemon");
	/* What was sent and not read any more shows as a reset; what the peer said comes after. */
	do
		n = seqpacket_receive(socket, ret_message, WIRE_MAX_MESSAGE, fds, 0);
	while (n == -ECONNRESET);
	ck_assert_msg(n >= 0, "cannot receive: %s", strerror((int)-n));
	return (size_t)n;
}

size_t raw_receive(int socket, void *ret_message)
{
	struct seqpacket_fds fds;
	size_t n = receive(socket, ret_message, &fds);

	ck_assert_uint_eq(fds.n, 0);
	return n;
}

size_t raw_receive_type(int socket, unsigned int type, void *ret_message, int *ret_fd)
{
	struct seqpacket_fds fds;
	struct wire_header header;
	size_t n = receive(socket, ret_message, &fds);

	ck_assert_msg(n, "the daemon has closed the connection");
	ck_assert_ptr_null(wire_get_header(ret_message, n, &header));
	if (header.type != type && (header.type == WIRE_ERROR || header.type == WIRE_BYE))
		ck_abort_msg("not %u, but: %s", type,
			     ((const struct wire_notice *)ret_message)->text);
	ck_assert_uint_eq(header.type, type);
	ck_assert_uint_eq(fds.n, ret_fd ? 1 : 0);
	if (ret_fd)
		*ret_fd = seqpacket_fds_take(&fds, 0);
	return n;
}

static struct wire_notice receive_notice(int socket, unsigned int type)
{
	_Alignas(8) uint8_t message[WIRE_MAX_MESSAGE];
	struct wire_notice notice = { 0 };
	size_t n = raw_receive_type(socket, type, message, NULL);

	ck_assert_ptr_null(wire_get_notice(message, n, &notice));
	return notice;
}

static void expect_last_words(int socket, unsigned int type, enum kvmattr_status status,
			      const char *part)
{
	struct wire_notice notice = receive_notice(socket, type);
	uint8_t message[WIRE_MAX_MESSAGE];

	ck_assert_msg(notice.status == status && strstr(notice.text, part),
		      "not %s with \"%s\", but %s: %s", kvmattr_status_name(status), part,
		      kvmattr_status_name((int)notice.status), notice.text);
	ck_assert_uint_eq(notice.closing, 1);
	ck_assert_uint_eq(raw_receive(socket, message), 0);
	close(socket);
}

void raw_expect_broken(int socket, const char *part)
{
	expect_last_words(socket, WIRE_ERROR, KVMATTR_PROTOCOL_ERROR, part);
}

void raw_expect_closed(int socket, enum kvmattr_status status, const char *part)
{
	expect_last_words(socket, WIRE_BYE, status, part);
}

void raw_expect_refusal(int socket, uint64_t id, enum kvmattr_status status, const char *part)
{
	struct wire_notice notice = receive_notice(socket, WIRE_ERROR);

	ck_assert_msg(notice.status == status && strstr(notice.text, part),
		      "not %s with \"%s\", but %s: %s", kvmattr_status_name(status), part,
		      kvmattr_status_name((int)notice.status), notice.text);
	ck_assert_uint_eq(notice.closing, 0);
	ck_assert_uint_eq(notice.header.id, id);
}

void raw_expect_alive(int socket)
{
	_Alignas(8) uint8_t message[WIRE_MAX_MESSAGE];
	struct wire_explain explain = { .header = wire_header_make(WIRE_EXPLAIN, sizeof(explain),
								   0xA11FE) };
	struct wire_explained explained;
	size_t n;

	raw_send(socket, &explain, sizeof(explain));
	n = raw_receive_type(socket, WIRE_EXPLAINED, message, NULL);
	ck_assert_ptr_null(wire_get_explained(message, n, &explained));
	ck_assert_uint_eq(explained.header.id, 0xA11FE);
}

struct wire_welcome raw_say_hello(int socket)
{
	_Alignas(8) uint8_t message[WIRE_MAX_MESSAGE];
	struct wire_hello hello = raw_make_hello();
	struct wire_welcome welcome;
	size_t n;

	raw_send(socket, &hello, sizeof(hello));
	n = raw_receive_type(socket, WIRE_WELCOME, message, NULL);
	ck_assert_ptr_null(wire_get_welcome(message, n, &welcome));
	ck_assert_uint_eq(welcome.version, WIRE_VERSION);
	return welcome;
}

int raw_greet(const struct kvmattrd *d)
{
	int socket = raw_connect(d);

	raw_say_hello(socket);
	return socket;
}

/* ---- Messages ------------------------------------------------------------------------------ */

struct wire_hello raw_make_hello(void)
{
	return (struct wire_hello){
		.header = wire_header_make(WIRE_HELLO, sizeof(struct wire_hello), 1),
		.magic = WIRE_MAGIC,
		.version_min = WIRE_VERSION,
		.version_max = WIRE_VERSION,
		.peer = "raw-peer",
	};
}

struct raw_register raw_make_register(const char *name)
{
	struct raw_register message = {
		.head = { .header = wire_header_make(WIRE_REGISTER, sizeof(message), 77),
			  .n_views = 2,
			  .n_ram = 1 },
		.views = { { .vtl = 0 }, { .vtl = 1 } },
		.ram = { { .gfn = 0, .n_pages = 1024 } },
	};

	snprintf(message.head.name, sizeof(message.head.name), "%s", name);
	return message;
}

struct raw_update raw_make_update(uint64_t seqno)
{
	return (struct raw_update){
		.head = { .header = wire_header_make(WIRE_UPDATE, sizeof(struct raw_update), seqno),
			  .n_updates = 1 },
		.update = { .kind = KVMATTR_PROTECT,
			    .form = WIRE_FORM_PAGES,
			    .layer = 1,
			    .value = KVMATTR_R,
			    .restricted = KVMATTR_ALL_LOWER,
			    .n_elements = 2 },
		.gfns = { 5, 6 },
	};
}

int raw_make_vm_fd(void)
{
	int fd = memfd_create("kvmattr-simvm", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

/* ---- A VM whose executor is the test ------------------------------------------------------- */

struct raw_vm raw_vm_begin(const struct kvmattrd *d, const struct raw_register *message)
{
	struct raw_vm vm = { .owner = raw_connect(d),
			     .fds = { raw_make_vm_fd(), raw_make_vm_fd() } };
	int sockets[2], fds[3];

	vm.welcome = raw_say_hello(vm.owner);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
	vm.executor = sockets[0];
	fds[0] = sockets[1];
	fds[1] = vm.fds[0];
	fds[2] = vm.fds[1];
	raw_send_with_fds(vm.owner, message, sizeof(*message), fds, 3);
	close(sockets[1]);
	return vm;
}

void raw_vm_answer_probe(struct raw_vm *vm)
{
	_Alignas(8) uint8_t message[WIRE_MAX_MESSAGE];
	struct {
		struct wire_probed head;
		struct wire_probe_result results[2];
	} reply = { 0 };
	struct wire_probe probe;
	size_t n = raw_receive_type(vm->executor, WIRE_PROBE, message, NULL);

	ck_assert_ptr_null(wire_get_probe(message, n, &probe));
	ck_assert_uint_eq(probe.n_targets, 2);
	reply.head.header = wire_header_make(WIRE_PROBED, sizeof(reply), probe.header.id);
	reply.head.n_targets = 2;
	for (int i = 0; i < 2; i++)
		reply.results[i] = (struct wire_probe_result){
			.v10_errno = ENOTTY,
			.cap = KVM_ABI_DENY_ALL | KVM_ABI_PRIVATE,
		};
	raw_send(vm->executor, &reply, sizeof(reply));
}

uint32_t raw_vm_answer_calls(struct raw_vm *vm)
{
	_Alignas(8) uint8_t message[WIRE_MAX_MESSAGE];
	struct wire_called reply = { 0 };
	struct wire_calls calls;
	size_t n = raw_receive_type(vm->executor, WIRE_CALLS, message, NULL);

	ck_assert_ptr_null(wire_get_calls(message, n, &calls));
	reply.header = wire_header_make(WIRE_CALLED, sizeof(reply), calls.header.id);
	reply.n_done = calls.n_calls;
	raw_send(vm->executor, &reply, sizeof(reply));
	return calls.n_calls;
}

uint64_t raw_vm_take_calls(struct raw_vm *vm, uint64_t gfn, unsigned int target)
{
	_Alignas(8) uint8_t message[WIRE_MAX_MESSAGE];
	struct wire_called reply = { 0 };
	uint64_t attributes = UINT64_MAX;
	struct wire_calls calls;
	size_t n = raw_receive_type(vm->executor, WIRE_CALLS, message, NULL);

	ck_assert_ptr_null(wire_get_calls(message, n, &calls));
	for (uint32_t i = 0; i < calls.n_calls; i++) {
		struct wire_call call;

		ck_assert_ptr_null(wire_at_call(message, i, &call));
		if (call.target == target && gfn << KVMATTR_PAGE_SHIFT >= call.gpa &&
		    gfn << KVMATTR_PAGE_SHIFT < call.gpa + call.size)
			attributes = call.attributes;
	}
	reply.header = wire_header_make(WIRE_CALLED, sizeof(reply), calls.header.id);
	reply.n_done = calls.n_calls;
	raw_send(vm->executor, &reply, sizeof(reply));
	return attributes;
}

void raw_vm_answer_calls_until(struct raw_vm *vm, int socket)
{
	struct pollfd fds[] = { { .fd = socket, .events = POLLIN },
				{ .fd = vm->executor, .events = POLLIN } };

	for (;;) {
		ck_assert_int_gt(poll(fds, 2, RECEIVE_TIMEOUT_MS * (int)harness_patience()), 0);
		if (fds[0].revents)
			return;
		raw_vm_answer_calls(vm);
	}
}

void raw_vm_finish(struct raw_vm *vm)
{
	_Alignas(8) uint8_t message[WIRE_MAX_MESSAGE];

	raw_vm_answer_calls_until(vm, vm->owner);
	raw_receive_type(vm->owner, WIRE_REGISTERED, message, NULL);
}

struct raw_vm raw_vm_start(const struct kvmattrd *d, const char *name)
{
	_Alignas(8) uint8_t message[WIRE_MAX_MESSAGE];
	struct raw_register registration = raw_make_register(name);
	struct raw_vm vm = raw_vm_begin(d, &registration);
	struct {
		struct wire_update_list head;
		struct wire_update update;
	} enable = {
		.head = { .header = wire_header_make(WIRE_UPDATE, sizeof(enable), 1),
			  .n_updates = 1 },
		.update = { .kind = KVMATTR_ENABLE_LAYER, .layer = 1, .value = KVMATTR_RWX },
	};

	raw_vm_answer_probe(&vm);
	raw_vm_finish(&vm);
	/* A default of RWX changes nothing in the kernel: no calls come. */
	raw_send(vm.owner, &enable, sizeof(enable));
	raw_receive_type(vm.owner, WIRE_ANSWER, message, NULL);
	ck_assert_uint_eq(((const struct wire_answer *)message)->n_failures, 0);
	return vm;
}

int raw_vm_open_agent(struct raw_vm *vm, unsigned int vtl, unsigned int rights)
{
	struct wire_welcome welcome;

	return raw_vm_open_welcomed_agent(vm, vtl, rights, &welcome);
}

int raw_vm_open_welcomed_agent(struct raw_vm *vm, unsigned int vtl, unsigned int rights,
			       struct wire_welcome *ret_welcome)
{
	_Alignas(8) uint8_t message[WIRE_MAX_MESSAGE];
	struct wire_open_agent open = {
		.header = wire_header_make(WIRE_OPEN_AGENT, sizeof(open), 5),
		.vtl = vtl,
		.rights = rights,
	};
	int fd = -1;

	raw_send(vm->owner, &open, sizeof(open));
	raw_receive_type(vm->owner, WIRE_AGENT_OPENED, message, &fd);
	*ret_welcome = raw_say_hello(fd);
	return fd;
}

static void close_once(int fd)
{
	if (fd >= 0)
		close(fd);
}

void raw_vm_close(struct raw_vm *vm)
{
	close_once(vm->owner);
	close_once(vm->executor);
	close_once(vm->fds[0]);
	close_once(vm->fds[1]);
}

/* ---- After a restart of the daemon --------------------------------------------------------- */

struct wire_resume raw_make_resume(const struct wire_welcome *welcome, uint64_t answered)
{
	struct wire_resume resume = {
		.header = wire_header_make(WIRE_RESUME, sizeof(resume), 0x2E5),
		.session = welcome->session,
		.answered = answered,
	};

	memcpy(resume.token, welcome->token, sizeof(resume.token));
	return resume;
}

int raw_send_resume(const struct kvmattrd *d, const struct wire_welcome *welcome, uint64_t answered)
{
	const struct wire_resume resume = raw_make_resume(welcome, answered);
	int socket = raw_greet(d);

	raw_send(socket, &resume, sizeof(resume));
	return socket;
}

struct wire_resumed raw_receive_resumed(int socket)
{
	_Alignas(8) uint8_t message[WIRE_MAX_MESSAGE];
	struct wire_resumed resumed = { 0 };
	size_t n = raw_receive_type(socket, WIRE_RESUMED, message, NULL);

	ck_assert_ptr_null(wire_get_resumed(message, n, &resumed));
	ck_assert_uint_eq(resumed.header.id, 0x2E5);
	return resumed;
}

int raw_resume(const struct kvmattrd *d, const struct wire_welcome *welcome, uint64_t answered,
	       uint64_t settled)
{
	int socket = raw_send_resume(d, welcome, answered);

	ck_assert_uint_eq(raw_receive_resumed(socket).settled, settled);
	return socket;
}

void raw_vm_send_resume(struct raw_vm *vm, const struct kvmattrd *d, uint64_t answered)
{
	struct {
		struct wire_resume head;
		struct wire_view views[2];
	} message = { .head = raw_make_resume(&vm->welcome, answered),
		      .views = { { .vtl = 0 }, { .vtl = 1 } } };
	int sockets[2], fds[3];

	close_once(vm->owner);
	close_once(vm->executor);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
	vm->owner = raw_greet(d);
	vm->executor = sockets[0];
	message.head.header.size = sizeof(message);
	message.head.n_views = 2;
	fds[0] = sockets[1];
	fds[1] = vm->fds[0];
	fds[2] = vm->fds[1];
	raw_send_with_fds(vm->owner, &message, sizeof(message), fds, 3);
	close(sockets[1]);
}

void raw_vm_resume(struct raw_vm *vm, const struct kvmattrd *d, uint64_t answered, uint64_t settled)
{
	raw_vm_send_resume(vm, d, answered);
	ck_assert_uint_eq(raw_receive_resumed(vm->owner).settled, settled);
	raw_vm_answer_probe(vm);
}

uint32_t raw_receive_answer(int socket, uint64_t seqno, struct wire_failure *ret_first)
{
	_Alignas(8) uint8_t message[WIRE_MAX_MESSAGE];
	struct wire_answer answer = { 0 };
	size_t n = raw_receive_type(socket, WIRE_ANSWER, message, NULL);

	ck_assert_ptr_null(wire_get_answer(message, n, &answer));
	ck_assert_uint_eq(answer.header.id, seqno);
	if (answer.n_failures && ret_first)
		ck_assert_ptr_null(wire_at_failure(message, 0, ret_first));
	return answer.n_failures;
}
