/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who may do what: every method of the control socket and every message of the agent socket, tried
 * by processes of real users.
 */
#include "tests/integration/control-client.h"
#include "tests/integration/harness.h"
#include "tests/integration/other-users.h"
#include "tests/integration/raw-peer.h"
#include "tests/integration/simulated-vmm.h"

#include <check.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Who --------------------------------------------------------------------------------------- */

static const char settings[] = "[daemon]\n"
			       "socket-mode = 0666\n"
			       "[authority]\n"
			       "register = gid:61104\n"
			       "observe = uid:61002\n"
			       "operate = gid:61103\n";

static const struct role {
	const char *name;
	uid_t uid;
	gid_t gid;
	gid_t other_gid; /* a supplementary group */
	bool registers;
	bool observes;
	bool operates;
} roles[] = {
	{ "root", 0, 0, 0, true, true, true },
	{ "daemon's", DAEMON_ID, DAEMON_ID, DAEMON_ID, true, true, true },
	{ "observe", 61002, 61002, 61002, false, true, false },
	{ "operate", 61003, 61003, 61103, false, true, true },
	{ "register", 61004, 61104, 61004, true, false, false },
	{ "nobody", 65534, 65534, 65534, false, false, false },
};
#define N_ROLES N(roles)

static struct kvmattrd *d;

static void become(const struct role *role)
{
	ck_assert_int_eq(setgroups(1, &role->other_gid), 0);
	ck_assert_int_eq(setresgid(role->gid, role->gid, role->gid), 0);
	ck_assert_int_eq(setresuid(role->uid, role->uid, role->uid), 0);
	harness_die_with_parent();
}

/* Has each role's process run it, one after the other. */
static void for_each_role(void (*run)(unsigned int role))
{
	for (unsigned int i = 0; i < N_ROLES; i++) {
		int status = 0;
		pid_t child = fork();

		ck_assert_int_ge(child, 0);
		if (!child) {
			become(&roles[i]);
			run(i);
			_exit(0);
		}
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert_msg(!status, "%s: ended with 0x%x", roles[i].name, status);
	}
}

/* ---- What came of it --------------------------------------------------------------------------- */

#define MAX_ROWS 128

/* Shared with the roles' processes. */
struct table {
	int n;
	struct row {
		char what[64];
		bool was_tried[N_ROLES];
		bool is_allowed[N_ROLES];
		bool is_due[N_ROLES]; /* to be allowed */
	} rows[MAX_ROWS];
};

static struct table *table;

static void note(const char *what, unsigned int role, bool is_due, bool is_allowed)
{
	int i = 0;

	while (i < table->n && strcmp(table->rows[i].what, what))
		i++;
	ck_assert_int_lt(i, MAX_ROWS);
	if (i == table->n)
		snprintf(table->rows[table->n++].what, sizeof(table->rows[i].what), "%s", what);
	table->rows[i].was_tried[role] = true;
	table->rows[i].is_due[role] = is_due;
	table->rows[i].is_allowed[role] = is_allowed;
}

static void make_table(void)
{
	table = mmap(NULL, sizeof(*table), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	ck_assert_ptr_ne(table, MAP_FAILED);
}

/* Every cell is there and as it is to be. */
static void show_and_check_table(void)
{
	printf("# %-36s", "");
	for (unsigned int i = 0; i < N_ROLES; i++)
		printf(" %-9s", roles[i].name);
	for (int row = 0; row < table->n; row++) {
		printf("\n# %-36s", table->rows[row].what);
		for (unsigned int i = 0; i < N_ROLES; i++)
			printf(" %-9s", table->rows[row].is_allowed[i] ? "allowed" : "-");
	}
	printf("\n");
	fflush(stdout);
	for (int row = 0; row < table->n; row++)
		for (unsigned int i = 0; i < N_ROLES; i++) {
			const struct row *it = &table->rows[row];

			ck_assert_msg(it->was_tried[i], "%s: not tried by %s", it->what,
				      roles[i].name);
			ck_assert_msg(it->is_allowed[i] == it->is_due[i], "%s: %s for %s", it->what,
				      it->is_allowed[i] ? "allowed" : "denied", roles[i].name);
		}
}

/* ---- The control socket ------------------------------------------------------------------------ */

static struct json_object *methods; /* as rpc.methods has them */

/* Of one's own for each role, so that they do not meet in it. */
static const char *vm_of(unsigned int role)
{
	static char name[16];

	snprintf(name, sizeof(name), "guest%u", role);
	return name;
}

static int agents[N_ROLES]; /* sockets that speak for VTL 1 of the role's VM */

/*
 * A VMM for each role's VM, all in one process of their own: their threads are not to be there when
 * the roles' processes are forked.
 */
struct vmms {
	pid_t pid;
	int channel;
};

__attribute__((noreturn)) static void be_the_vmms(int channel)
{
	struct simulated_vmm *vmms[N_ROLES];
	struct iovec part = { (void *)"", 1 };
	bool has_been_protected;

	harness_die_with_parent();
	for (unsigned int i = 0; i < N_ROLES; i++) {
		vmms[i] = simulated_vmm_start(
			d, &(struct simulated_vmm_options){ .name = vm_of(i), .n_pages = 64 });
		expect_ok(vmms[i]->owner, kvmattr_enable_layer(vmms[i]->owner, 1, KVMATTR_RWX, 0));
		expect_ok(vmms[i]->owner, kvmattr_open_agent(vmms[i]->owner, 1, 0, &agents[i]));
	}
	ck_assert_int_eq(seqpacket_send(channel, &part, 1, agents, N_ROLES, 0), 0);
	for (unsigned int i = 0; i < N_ROLES; i++)
		close(agents[i]);
	ck_assert_int_eq(read(channel, &has_been_protected, 1), 1);
	for (unsigned int i = 0; i < N_ROLES; i++) {
		if (has_been_protected)
			expect_pages(vmms[i], 0, 5, 2, KVMATTR_R);
		simulated_vmm_stop(vmms[i]);
	}
	_exit(0);
}

static struct vmms start_vms(void)
{
	struct vmms vmms;
	struct seqpacket_fds fds;
	int channel[2];
	char byte;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel), 0);
	vmms.pid = fork();
	ck_assert_int_ge(vmms.pid, 0);
	if (!vmms.pid) {
		close(channel[0]);
		be_the_vmms(channel[1]);
	}
	close(channel[1]);
	vmms.channel = channel[0];
	ck_assert_int_eq(seqpacket_receive(vmms.channel, &byte, 1, &fds, 0), 1);
	ck_assert_uint_eq(fds.n, N_ROLES);
	for (unsigned int i = 0; i < N_ROLES; i++)
		agents[i] = seqpacket_fds_take(&fds, i);
	return vmms;
}

/* has_been_protected: every agent has protected pages 5 and 6. */
static void stop_vms(const struct vmms *vmms, bool has_been_protected)
{
	int status = 0;

	ck_assert_int_eq(write(vmms->channel, &has_been_protected, 1), 1);
	ck_assert_int_eq(waitpid(vmms->pid, &status, 0), vmms->pid);
	ck_assert_int_eq(status, 0);
	close(vmms->channel);
	for (unsigned int i = 0; i < N_ROLES; i++)
		close(agents[i]);
}

/* Something that a parameter of that type takes. */
static struct json_object *value_for(struct json_object *parameter, unsigned int role)
{
	const char *type = json_text_at(parameter, "type");

	if (!strcmp(type, "vm") || !strcmp(type, "journal"))
		return json_object_new_string(vm_of(role));
	if (!strcmp(type, "choice"))
		return json_object_get(json_at(parameter, "choices.0"));
	if (!strcmp(type, "integer"))
		return json_object_new_int64(json_number_at(parameter, "minimum"));
	if (!strcmp(type, "address"))
		return json_object_new_string("0x1000");
	if (!strcmp(type, "base64"))
		return json_object_new_string("AA==");
	ck_abort_msg("no value for a parameter that is %s", type);
}

static struct json_object *params_for(struct json_object *method, unsigned int role)
{
	struct json_object *params = json_object_new_object();
	struct json_object *parameters = json_at(method, "parameters");

	for (size_t i = 0; i < json_object_array_length(parameters); i++) {
		struct json_object *parameter = json_object_array_get_idx(parameters, i);

		if (json_has(parameter, "required") && json_boolean_at(parameter, "required"))
			json_object_object_add(params, json_text_at(parameter, "name"),
					       value_for(parameter, role));
	}
	return params;
}

/* The daemon may have closed by now, and have said why. */
static struct json_object *ask(struct control_client *client, const char *line)
{
	struct json_object *answer;

	(void)!send(client->socket, line, strlen(line), MSG_NOSIGNAL);
	answer = control_receive(client);
	ck_assert_ptr_nonnull(answer);
	return answer;
}

/* On a connection of its own.  What is allowed was understood, and was done or had a reason. */
static bool try_method(struct json_object *method, unsigned int role)
{
	struct control_client *client = control_connect(d);
	struct json_object *request = json_object_new_object(), *answer;
	bool is_allowed = true;

	json_object_object_add(request, "jsonrpc", json_object_new_string("2.0"));
	json_object_object_add(request, "id", json_object_new_int(1));
	json_object_object_add(request, "method", json_object_get(json_at(method, "name")));
	json_object_object_add(request, "params", params_for(method, role));
	answer = ask(client, json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN));
	if (json_has(answer, "error")) {
		is_allowed = json_number_at(answer, "error.code") != ACCESS_DENIED;
		ck_assert_msg(json_number_at(answer, "error.code") > -32600, "%s: %s",
			      json_object_to_json_string(request),
			      json_object_to_json_string(answer));
	}
	json_object_put(answer);
	json_object_put(request);
	control_close(client);
	return is_allowed;
}

static bool is_for_operators(struct json_object *method)
{
	const char *role = json_text_at(method, "role");

	ck_assert(!strcmp(role, "operator") || !strcmp(role, "observer"));
	return !strcmp(role, "operator");
}

static void try_and_note(struct json_object *method, unsigned int role)
{
	const struct role *who = &roles[role];

	note(json_text_at(method, "name"), role,
	     is_for_operators(method) ? who->operates : who->observes, try_method(method, role));
}

static struct json_object *find_method(const char *name)
{
	for (size_t i = 0; i < json_object_array_length(methods); i++) {
		struct json_object *method = json_object_array_get_idx(methods, i);

		if (!strcmp(json_text_at(method, "name"), name))
			return method;
	}
	ck_abort_msg("there is no method %s", name);
}

/* What comes after it is no matter of order: a frozen VM is thawed, and released last of all. */
static void try_methods(unsigned int role)
{
	for (size_t i = 0; i < json_object_array_length(methods); i++) {
		struct json_object *method = json_object_array_get_idx(methods, i);
		const char *name = json_text_at(method, "name");

		if (!strcmp(name, "vm.release"))
			continue;
		try_and_note(method, role);
		if (!strcmp(name, "vm.freeze"))
			try_method(find_method("vm.thaw"), role);
	}
	try_and_note(find_method("vm.release"), role);
}

START_TEST(every_method_is_for_those_whom_its_role_s_setting_lists)
{
	struct vmms vmms;
	struct control_client *control;
	struct daemon_state before;
	struct json_object *answer;

	d = other_users_start(settings);
	make_table();
	control = control_connect(d);
	before = daemon_state_now(d, control);
	answer = control_call(control, "rpc.methods", "{}");
	methods = json_at(answer, "methods");
	ck_assert_uint_gt(json_object_array_length(methods), 30);
	vmms = start_vms();
	for_each_role(try_methods);
	/* It is done for those who may, and only for them. */
	for (unsigned int i = 0; i < N_ROLES; i++)
		ck_assert(control_has_vm(control, vm_of(i)) == !roles[i].operates);
	stop_vms(&vmms, false);
	show_and_check_table();
	ck_assert_int_eq(table->n, (int)json_object_array_length(methods));
	expect_state(d, control, &before);
	json_object_put(answer);
	control_close(control);
	kvmattrd_stop(d);
}
END_TEST

/* ---- The agent socket -------------------------------------------------------------------------- */

/* The next message is of that type; else it says no. */
static bool is_answered(int socket, unsigned int type)
{
	_Alignas(8) uint8_t message[WIRE_MAX_MESSAGE];
	struct wire_header header;
	struct seqpacket_fds fds;
	struct pollfd readable = { .fd = socket, .events = POLLIN };
	ssize_t n;

	ck_assert_int_eq(poll(&readable, 1, 5000 * (int)harness_patience()), 1);
	n = seqpacket_receive(socket, message, sizeof(message), &fds, 0);
	ck_assert_int_gt(n, 0);
	seqpacket_fds_close(&fds);
	ck_assert_ptr_null(wire_get_header(message, (size_t)n, &header));
	if (header.type == type)
		return true;
	ck_assert_uint_eq(header.type, WIRE_ERROR);
	return false;
}

static bool try_hello(int socket)
{
	struct wire_hello hello = raw_make_hello();

	raw_send(socket, &hello, sizeof(hello));
	return is_answered(socket, WIRE_WELCOME);
}

static bool try_query(int socket)
{
	struct wire_query query = { .header = wire_header_make(WIRE_QUERY, sizeof(query), 2),
				    .n_pages = 8 };

	raw_send(socket, &query, sizeof(query));
	return is_answered(socket, WIRE_RUNS);
}

static bool try_explain(int socket)
{
	struct wire_explain explain = { .header =
						wire_header_make(WIRE_EXPLAIN, sizeof(explain), 3),
					.access = KVMATTR_READ };

	raw_send(socket, &explain, sizeof(explain));
	return is_answered(socket, WIRE_EXPLAINED);
}

static bool try_open_agent(int socket)
{
	struct wire_open_agent open = { .header =
						wire_header_make(WIRE_OPEN_AGENT, sizeof(open), 4),
					.vtl = 1 };

	raw_send(socket, &open, sizeof(open));
	return is_answered(socket, WIRE_AGENT_OPENED);
}

static bool try_update(int socket)
{
	struct raw_update update = raw_make_update(1);

	raw_send(socket, &update, sizeof(update));
	return is_answered(socket, WIRE_ANSWER);
}

/* On a connection that has no VM, whoever made it; the last one breaks the protocol. */
static void try_without_vm(unsigned int role)
{
	int socket = raw_connect(d);

	note("HELLO", role, true, try_hello(socket));
	note("QUERY without a VM", role, false, try_query(socket));
	note("EXPLAIN without a VM", role, false, try_explain(socket));
	note("OPEN_AGENT without a VM", role, false, try_open_agent(socket));
	note("UPDATE without a VM", role, false, try_update(socket));
	close(socket);
}

/* A right to register is not asked for, nor does it give one. */
static void try_as_agent(unsigned int role)
{
	note("HELLO on an agent's socket", role, true, try_hello(agents[role]));
	note("QUERY on an agent's socket", role, true, try_query(agents[role]));
	note("EXPLAIN on an agent's socket", role, true, try_explain(agents[role]));
	note("OPEN_AGENT on an agent's socket", role, false, try_open_agent(agents[role]));
	note("UPDATE on an agent's socket", role, true, try_update(agents[role]));
}

/* The executor is asked first if it may be; else its socket is closed, and there is an error. */
static bool is_registered(struct raw_vm *vm)
{
	struct pollfd fds[] = { { .fd = vm->owner, .events = POLLIN },
				{ .fd = vm->executor, .events = POLLIN } };

	ck_assert_int_gt(poll(fds, 2, 5000 * (int)harness_patience()), 0);
	if (fds[0].revents || fds[1].revents & POLLHUP) {
		raw_expect_refusal(vm->owner, 77, KVMATTR_ACCESS_DENIED, "REGISTER is for VMMs");
		return false;
	}
	raw_vm_answer_probe(vm);
	raw_vm_finish(vm);
	return true;
}

/* Who may not register is refused, and has what it had: a connection without a VM. */
static void try_as_owner(unsigned int role)
{
	const bool is_due = roles[role].registers;
	const struct raw_register message = raw_make_register("of-its-own");
	struct raw_vm vm = raw_vm_begin(d, &message);
	const bool is_owner = is_registered(&vm);
	struct {
		struct wire_update_list head;
		struct wire_update update;
	} enable = {
		.head = { .header = wire_header_make(WIRE_UPDATE, sizeof(enable), 1),
			  .n_updates = 1 },
		.update = { .kind = KVMATTR_ENABLE_LAYER, .layer = 1, .value = KVMATTR_RWX },
	};

	note("REGISTER", role, is_due, is_owner);
	note("QUERY after REGISTER", role, is_due, try_query(vm.owner));
	note("EXPLAIN after REGISTER", role, is_due, try_explain(vm.owner));
	note("OPEN_AGENT after REGISTER", role, is_due, try_open_agent(vm.owner));
	raw_send(vm.owner, &enable, sizeof(enable));
	if (is_owner)
		raw_vm_answer_calls_until(&vm, vm.owner);
	note("UPDATE after REGISTER", role, is_due, is_answered(vm.owner, WIRE_ANSWER));
	raw_vm_close(&vm);
}

static void try_messages(unsigned int role)
{
	try_without_vm(role);
	try_as_owner(role);
	try_as_agent(role);
}

/* ---- RESUME ------------------------------------------------------------------------------------ */

static struct wire_welcome welcomes[N_ROLES]; /* of an agent of each role */

/* A token gives the session to whoever shows it; nothing else does. */
static void try_resume(unsigned int role)
{
	struct wire_welcome wrong = welcomes[role];
	int socket;

	wrong.token[0] ^= 1;
	socket = raw_send_resume(d, &wrong, 0);
	note("RESUME with a wrong token", role, false, is_answered(socket, WIRE_RESUMED));
	close(socket);
	socket = raw_send_resume(d, &welcomes[role], 0);
	note("RESUME with the token", role, true, is_answered(socket, WIRE_RESUMED));
	close(socket);
}

static void restart_and_try_resume(void)
{
	struct raw_vm vm = raw_vm_start(d, "resumed");
	int sockets[N_ROLES];

	for (unsigned int i = 0; i < N_ROLES; i++)
		sockets[i] = raw_vm_open_welcomed_agent(&vm, 1, 0, &welcomes[i]);
	kvmattrd_kill(d);
	for (unsigned int i = 0; i < N_ROLES; i++)
		close(sockets[i]);
	kvmattrd_launch(d, settings);
	raw_vm_resume(&vm, d, 1, 1);
	for_each_role(try_resume);
	raw_vm_close(&vm);
}

START_TEST(every_message_is_for_whom_the_settings_list_or_who_holds_the_descriptor_or_token)
{
	struct vmms vmms;
	struct control_client *control;
	struct daemon_state before;

	d = other_users_start(settings);
	make_table();
	control = control_connect(d);
	before = daemon_state_now(d, control);
	vmms = start_vms();
	for_each_role(try_messages);
	stop_vms(&vmms, true);
	expect_state(d, control, &before);
	control_close(control);
	restart_and_try_resume();
	show_and_check_table();
	ck_assert_int_eq(table->n, 17);
	kvmattrd_stop(d);
}
END_TEST

int main(void)
{
	TCase *all = harness_make_case("roles", 60);
	TCase *const cases[] = { all, NULL };
	const char *why = other_users_why_not();

	if (why) {
		printf("1..0 # SKIP %s\n", why);
		return EXIT_SUCCESS;
	}
	tcase_add_test(all, every_method_is_for_those_whom_its_role_s_setting_lists);
	tcase_add_test(
		all,
		every_message_is_for_whom_the_settings_list_or_who_holds_the_descriptor_or_token);
	return harness_run("authority", cases);
}
