/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/integration/control-client.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct control_client *control_connect(const struct kvmattrd *d)
{
	struct control_client *client = calloc(1, sizeof(*client));
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	ck_assert_ptr_nonnull(client);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", d->control_socket);
	client->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(client->socket, 0);
	ck_assert_int_eq(connect(client->socket, (struct sockaddr *)&address, sizeof(address)), 0);
	client->input = fdopen(client->socket, "r");
	ck_assert_ptr_nonnull(client->input);
	return client;
}

void control_close(struct control_client *client)
{
	fclose(client->input);
	free(client);
}

void control_send(struct control_client *client, const char *bytes, size_t n)
{
	while (n) {
		ssize_t sent = send(client->socket, bytes, n, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		ck_assert_int_gt(sent, 0);
		bytes += sent;
		n -= (size_t)sent;
	}
}

struct json_object *control_receive(struct control_client *client)
{
	struct json_object *answer;
	char *line = NULL;
	size_t size = 0;
	ssize_t n = getline(&line, &size, client->input);

	if (n < 0) {
		free(line);
		return NULL;
	}
	answer = json_tokener_parse(line);
	ck_assert_msg(answer, "this is no JSON: %s", line);
	free(line);
	return answer;
}

struct json_object *control_ask(struct control_client *client, const char *line)
{
	struct json_object *answer;

	control_send(client, line, strlen(line));
	control_send(client, "\n", 1);
	answer = control_receive(client);
	ck_assert_msg(answer, "no answer to %s", line);
	return answer;
}

static struct json_object *ask(struct control_client *client, const char *method,
			       const char *params)
{
	struct json_object *answer;
	char *line;

	ck_assert_int_gt(asprintf(&line,
				  "{\"jsonrpc\":\"2.0\",\"id\":%u,\"method\":\"%s\",\"params\":%s}",
				  ++client->last_id, method, params),
			 0);
	answer = control_ask(client, line);
	free(line);
	ck_assert_str_eq(json_text_at(answer, "jsonrpc"), "2.0");
	ck_assert_int_eq(json_number_at(answer, "id"), client->last_id);
	return answer;
}

struct json_object *control_call(struct control_client *client, const char *method,
				 const char *params, ...)
{
	struct json_object *answer, *result;
	va_list arguments;
	char *text;

	va_start(arguments, params);
	ck_assert_int_gt(vasprintf(&text, params, arguments), 0);
	va_end(arguments);
	answer = ask(client, method, text);
	ck_assert_msg(!json_has(answer, "error"), "%s %s: %s", method, text,
		      json_object_to_json_string(answer));
	result = json_object_get(json_at(answer, "result"));
	json_object_put(answer);
	free(text);
	return result;
}

void control_expect_error(struct control_client *client, const char *method, const char *params,
			  int code, const char *part)
{
	struct json_object *answer = ask(client, method, params);
	const char *text = json_object_to_json_string_ext(answer, JSON_C_TO_STRING_NOSLASHESCAPE);

	ck_assert_msg(json_has(answer, "error") && !json_has(answer, "result"),
		      "%s %s was not refused: %s", method, params, text);
	ck_assert_msg(json_number_at(answer, "error.code") == code, "%s %s: not %d: %s", method,
		      params, code, text);
	ck_assert_msg(strstr(text, part), "%s %s: %s does not say \"%s\"", method, params, text,
		      part);
	json_object_put(answer);
}

/* ---- Looking into JSON --------------------------------------------------------------------- */

static struct json_object *find(struct json_object *object, const char *path, bool *ret_found)
{
	char name[64];

	*ret_found = true;
	while (*path && *ret_found) {
		size_t n = strcspn(path, ".");

		ck_assert_uint_lt(n, sizeof(name));
		snprintf(name, sizeof(name), "%.*s", (int)n, path);
		path += n + (path[n] == '.');
		if (json_object_is_type(object, json_type_array) && isdigit((unsigned char)*name)) {
			size_t i = strtoul(name, NULL, 10);

			*ret_found = i < json_object_array_length(object);
			object = *ret_found ? json_object_array_get_idx(object, i) : NULL;
		} else {
			*ret_found = json_object_is_type(object, json_type_object) &&
				     json_object_object_get_ex(object, name, &object);
		}
	}
	return *ret_found ? object : NULL;
}

struct json_object *json_at(struct json_object *object, const char *path)
{
	bool found;
	struct json_object *there = find(object, path, &found);

	ck_assert_msg(found, "there is no %s in %s", path, json_object_to_json_string(object));
	return there;
}

bool json_has(struct json_object *object, const char *path)
{
	bool found;

	(void)find(object, path, &found);
	return found;
}

static struct json_object *typed_at(struct json_object *object, const char *path,
				    enum json_type type)
{
	struct json_object *there = json_at(object, path);

	ck_assert_msg(json_object_is_type(there, type), "%s is no %s in %s", path,
		      json_type_to_name(type), json_object_to_json_string(object));
	return there;
}

int64_t json_number_at(struct json_object *object, const char *path)
{
	return json_object_get_int64(typed_at(object, path, json_type_int));
}

bool json_boolean_at(struct json_object *object, const char *path)
{
	return json_object_get_boolean(typed_at(object, path, json_type_boolean));
}

const char *json_text_at(struct json_object *object, const char *path)
{
	return json_object_get_string(typed_at(object, path, json_type_string));
}

uint64_t json_address_at(struct json_object *object, const char *path)
{
	const char *text = json_text_at(object, path);
	char *end;
	uint64_t address = strtoull(text, &end, 16);

	ck_assert_msg(!strncmp(text, "0x", 2) && !*end, "%s is no address: %s", path, text);
	return address;
}

/* ---- What the daemon has ------------------------------------------------------------------- */

struct daemon_state daemon_state_now(const struct kvmattrd *d, struct control_client *client)
{
	struct json_object *result = control_call(client, "daemon.get", "{}");
	struct daemon_state state = {
		.n_fds = kvmattrd_count_fds(d),
		.n_vms = json_number_at(result, "counters.vms"),
		.n_sessions = json_number_at(result, "counters.sessions"),
	};

	json_object_put(result);
	return state;
}

void expect_state(const struct kvmattrd *d, struct control_client *client,
		  const struct daemon_state *before)
{
	uint64_t until = harness_now_ms() + (uint64_t)5000 * harness_patience();
	struct daemon_state now = daemon_state_now(d, client);

	/* fewer: a connection that came before was not quite closed then */
	while (now.n_fds > before->n_fds || now.n_vms != before->n_vms ||
	       now.n_sessions != before->n_sessions) {
		ck_assert_msg(harness_now_ms() < until,
			      "%u fds, %ld VMs, %ld sessions; before it was %u, %ld, %ld",
			      now.n_fds, now.n_vms, now.n_sessions, before->n_fds, before->n_vms,
			      before->n_sessions);
		harness_pause();
		now = daemon_state_now(d, client);
	}
}

bool control_has_vm(struct control_client *client, const char *name)
{
	struct json_object *result = control_call(client, "vm.list", "{}");
	struct json_object *vms = json_at(result, "vms");
	bool has = false;

	for (size_t i = 0; i < json_object_array_length(vms); i++)
		has |= !strcmp(json_text_at(json_object_array_get_idx(vms, i), "name"), name);
	json_object_put(result);
	return has;
}
