/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client/kvmattrctl-rpc.h"

#include "client/kvmattrctl-terminal.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* An answer that is longer is none of kvmattrd's. */
#define MAX_ANSWER (64u * 1024 * 1024)
/* Answers are not deep; this is plenty. */
#define MAX_DEPTH 32

struct rpc {
	char *path;
	unsigned int timeout_ms;
	int socket;
	int yields_to; /* a descriptor, or -1 */
	bool shows_raw;
	int64_t last_id;
	char *bytes; /* received, and not used yet */
	size_t n;
	size_t capacity;
};

struct rpc *rpc_new(const char *path, unsigned int timeout_ms)
{
	struct rpc *rpc = terminal_there(calloc(1, sizeof(*rpc)));

	rpc->path = terminal_there(strdup(path));
	rpc->timeout_ms = timeout_ms;
	rpc->socket = -1;
	rpc->yields_to = -1;
	return rpc;
}

/* What might still come is of no call that is to come. */
static void disconnect(struct rpc *rpc)
{
	if (rpc->socket >= 0)
		close(rpc->socket);
	rpc->socket = -1;
	rpc->n = 0;
}

void rpc_free(struct rpc *rpc)
{
	if (!rpc)
		return;
	disconnect(rpc);
	free(rpc->bytes);
	free(rpc->path);
	free(rpc);
}

void rpc_be_patient(struct rpc *rpc, unsigned int timeout_s)
{
	if (rpc->timeout_ms < timeout_s * 1000)
		rpc->timeout_ms = timeout_s * 1000;
}

void rpc_yield_to(struct rpc *rpc, int fd)
{
	rpc->yields_to = fd;
}

void rpc_show_raw(struct rpc *rpc)
{
	rpc->shows_raw = true;
}

const char *rpc_path(const struct rpc *rpc)
{
	return rpc->path;
}

static enum ctl_exit say_why_not(const struct rpc *rpc, int error)
{
	struct stat status;
	const struct group *group = NULL;

	switch (error) {
	case ECANCELED:
		break;
	case ENOENT:
	case ENOTDIR:
		terminal_complain(
			"no daemon at %s: there is no such socket.\n"
			"Is kvmattrd running?  Start it (systemctl start kvmattrd), or say "
			"where it is:\n--runtime-dir DIR, or KVMATTR_RUNTIME_DIR.",
			rpc->path);
		break;
	case ECONNREFUSED:
	case ENOTSOCK:
		terminal_complain("no daemon at %s: nobody listens on it.\n"
				  "kvmattrd is not running any more.  Start it again (systemctl "
				  "start kvmattrd); its log says why it ended (journalctl -u "
				  "kvmattrd).",
				  rpc->path);
		break;
	case EACCES:
	case EPERM:
		if (stat(rpc->path, &status) == 0)
			group = getgrgid(status.st_gid);
		terminal_complain(
			"%s may not be opened by this user.\n"
			"Run kvmattrctl as root, or as a member of the group that may: %s.",
			rpc->path, group ? group->gr_name : "the one of the socket's directory");
		break;
	case EAGAIN:
	case ETIMEDOUT:
		terminal_complain("the daemon at %s did not answer within %g s.\n"
				  "It is stopped or very busy: look at it (systemctl status "
				  "kvmattrd), or wait longer with --timeout SECONDS.",
				  rpc->path, rpc->timeout_ms / 1000.0);
		break;
	case EPIPE:
	case ECONNRESET:
		terminal_complain("the daemon at %s closed the connection before it answered.\n"
				  "It was stopped or it crashed: its log says why (journalctl -u "
				  "kvmattrd).",
				  rpc->path);
		break;
	case ENAMETOOLONG:
		terminal_complain("%s is too long for a socket's path (%zu bytes at most).\n"
				  "Use a shorter directory.",
				  rpc->path, sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
		break;
	default:
		terminal_complain("no connection to the daemon at %s: %s.", rpc->path,
				  strerror(error));
	}
	return CTL_UNREACHABLE;
}

enum ctl_exit rpc_nonsense(const struct rpc *rpc, const char *what)
{
	terminal_complain("the answer of the daemon at %s makes no sense: %s.\n"
			  "Is this kvmattrd's control socket, and of the same version as "
			  "kvmattrctl?",
			  rpc->path, what);
	return CTL_UNREACHABLE;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Returns 0 or an errno. */
static int wait_for(const struct rpc *rpc, short events, int64_t deadline_ms)
{
	struct pollfd fds[] = {
		{ .fd = rpc->socket, .events = events },
		{ .fd = rpc->yields_to, .events = POLLIN },
	};

	for (;;) {
		int64_t left_ms = deadline_ms - now_ms();
		int n;

		if (left_ms <= 0)
			return ETIMEDOUT;
		n = poll(fds, 2, left_ms > INT32_MAX ? INT32_MAX : (int)left_ms);
		if (n > 0)
			return fds[0].revents ? 0 : ECANCELED;
		if (n < 0 && errno != EINTR)
			return errno;
	}
}

static int connect_to_daemon(struct rpc *rpc, int64_t deadline_ms)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(rpc->path) >= sizeof(address.sun_path))
		return ENAMETOOLONG;
	strcpy(address.sun_path, rpc->path);
	rpc->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (rpc->socket < 0)
		return errno;
	/* EAGAIN: the daemon has not accepted those that came before (unix(7)); poll does not help */
	while (connect(rpc->socket, (struct sockaddr *)&address, sizeof(address)) < 0) {
		if (errno != EAGAIN && errno != EINTR)
			return errno;
		if (now_ms() >= deadline_ms)
			return ETIMEDOUT;
		usleep(10000);
	}
	return 0;
}

static int send_all(struct rpc *rpc, const char *bytes, size_t n, int64_t deadline_ms)
{
	while (n) {
		ssize_t sent = send(rpc->socket, bytes, n, MSG_NOSIGNAL);

		if (sent > 0) {
			bytes += sent;
			n -= (size_t)sent;
		} else if (errno == EAGAIN) {
			int error = wait_for(rpc, POLLOUT, deadline_ms);

			if (error)
				return error;
		} else if (errno != EINTR) {
			return errno;
		}
	}
	return 0;
}

/* Receives up to a newline; *ret_size is the line's, without it. */
static int receive_line(struct rpc *rpc, int64_t deadline_ms, size_t *ret_size)
{
	size_t searched = 0;

	for (;;) {
		const char *newline =
			rpc->n > searched ? memchr(rpc->bytes + searched, '\n', rpc->n - searched)
					  : NULL;
		ssize_t n;

		if (newline) {
			*ret_size = (size_t)(newline - rpc->bytes);
			return 0;
		}
		searched = rpc->n;
		if (rpc->n > MAX_ANSWER)
			return EMSGSIZE;
		if (rpc->capacity - rpc->n < 65536) {
			rpc->capacity = 2 * rpc->capacity + 65536;
			rpc->bytes = terminal_there(realloc(rpc->bytes, rpc->capacity));
		}
		n = recv(rpc->socket, rpc->bytes + rpc->n, rpc->capacity - rpc->n, 0);
		if (n > 0) {
			rpc->n += (size_t)n;
		} else if (n == 0) {
			return EPIPE;
		} else if (errno == EAGAIN) {
			int error = wait_for(rpc, POLLIN, deadline_ms);

			if (error)
				return error;
		} else if (errno != EINTR) {
			return errno;
		}
	}
}

static char *make_request(struct rpc *rpc, const char *method, struct json_object *params)
{
	struct json_object *request = terminal_there(json_object_new_object());
	char *text;

	json_object_object_add(request, "jsonrpc", json_object_new_string("2.0"));
	json_object_object_add(request, "id", json_object_new_int64(++rpc->last_id));
	json_object_object_add(request, "method", json_object_new_string(method));
	if (params)
		json_object_object_add(request, "params", params);
	if (asprintf(&text, "%s\n",
		     json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN)) < 0)
		terminal_there(NULL);
	json_object_put(request);
	return text;
}

static struct json_object *parse_line(const char *line, size_t n)
{
	struct json_tokener *tokener = terminal_there(json_tokener_new_ex(MAX_DEPTH));
	struct json_object *object;

	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	object = json_tokener_parse_ex(tokener, line, (int)n);
	if (json_tokener_get_error(tokener) != json_tokener_success) {
		json_object_put(object);
		object = NULL;
	}
	json_tokener_free(tokener);
	return object;
}

/* A text of the daemon's as part of a sentence, in one line. */
static char *quote(struct json_object *object, const char *name)
{
	return terminal_safe(answer_text(object, name));
}

static enum ctl_exit say_refusal(struct json_object *error)
{
	struct json_object *data = answer_object(error, "data");
	char *message = quote(error, "message"), *detail = quote(error, "data");
	char *path = quote(data, "path"), *reason = quote(data, "reason");

	/* a parameter has its own name on the command line, or nearly so */
	if (*reason && !strncmp(path, "params.", strlen("params.")))
		terminal_complain("the daemon refused: %s %s.", path + strlen("params."), reason);
	else if (*reason)
		terminal_complain("the daemon refused: %s: %s %s.", message, path, reason);
	else if (*detail)
		terminal_complain("the daemon refused: %s: %s.", message, detail);
	else if (answer_integer(error, "code") == -32601)
		terminal_complain("the daemon has no such method.\n"
				  "It is of another version, or the name is wrong: kvmattrctl rpc "
				  "rpc.methods lists them.");
	else
		terminal_complain("the daemon refused: %s.", message);
	free(message);
	free(detail);
	free(path);
	free(reason);
	return CTL_REFUSED;
}

/* The first line of what was received, of that size, as JSON; NULL if it is none. */
static struct json_object *take_line(struct rpc *rpc, size_t size)
{
	struct json_object *object = parse_line(rpc->bytes, size + 1);

	if (rpc->shows_raw)
		terminal_write_raw(stdout, rpc->bytes, size + 1);
	memmove(rpc->bytes, rpc->bytes + size + 1, rpc->n - size - 1);
	rpc->n -= size + 1;
	return object;
}

static enum ctl_exit take_answer(struct rpc *rpc, size_t size, struct json_object **ret_result)
{
	struct json_object *answer = take_line(rpc, size), *result, *error;
	enum ctl_exit exit_code = CTL_OK;

	error = answer_object(answer, "error");
	if (!json_object_is_type(answer, json_type_object))
		exit_code = rpc_nonsense(rpc, "it is no JSON object");
	else if (error)
		exit_code = say_refusal(error);
	else if (answer_integer(answer, "id") != rpc->last_id)
		exit_code = rpc_nonsense(rpc, "it is to another question");
	else if (!json_object_object_get_ex(answer, "result", &result))
		exit_code = rpc_nonsense(rpc, "there is no result");
	else
		*ret_result = json_object_get(result);
	json_object_put(answer);
	return exit_code;
}

enum ctl_exit rpc_call(struct rpc *rpc, const char *method, struct json_object *params,
		       struct json_object **ret_result)
{
	int64_t deadline_ms = now_ms() + (int64_t)rpc->timeout_ms;
	char *request = make_request(rpc, method, params);
	enum ctl_exit exit_code;
	size_t size = 0;
	int error = 0;

	if (rpc->socket < 0)
		error = connect_to_daemon(rpc, deadline_ms);
	if (!error)
		error = send_all(rpc, request, strlen(request), deadline_ms);
	/* a daemon that refuses the connection has said why before it closed it */
	if (!error || error == EPIPE)
		error = receive_line(rpc, deadline_ms, &size);
	free(request);
	if (error)
		disconnect(rpc);
	if (error == EMSGSIZE)
		return rpc_nonsense(rpc, "it does not end");
	if (error)
		return say_why_not(rpc, error);
	exit_code = take_answer(rpc, size, ret_result);
	if (exit_code == CTL_UNREACHABLE)
		disconnect(rpc);
	return exit_code;
}

enum ctl_exit rpc_receive(struct rpc *rpc, struct json_object **ret)
{
	struct json_object *object;
	size_t size = 0;
	int error = rpc->socket < 0 ? EPIPE : receive_line(rpc, INT64_MAX, &size);

	if (error) {
		disconnect(rpc);
		return error == EMSGSIZE ? rpc_nonsense(rpc, "it does not end")
					 : say_why_not(rpc, error);
	}
	object = take_line(rpc, size);
	if (!*answer_text(object, "method")) {
		json_object_put(object);
		disconnect(rpc);
		return rpc_nonsense(rpc, "it is neither an answer nor an event");
	}
	*ret = object;
	return CTL_OK;
}

void params_add(struct json_object *params, const char *name, struct json_object *value)
{
	if (json_object_object_add(params, name, terminal_there(value)) < 0)
		terminal_there(NULL);
}

void params_add_text(struct json_object *params, const char *name, const char *text)
{
	params_add(params, name, json_object_new_string(text));
}

void params_add_number(struct json_object *params, const char *name, uint64_t number)
{
	params_add(params, name, json_object_new_uint64(number));
}

void params_add_address(struct json_object *params, const char *name, uint64_t address)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%" PRIx64, address);
	params_add_text(params, name, text);
}

struct json_object *params_about(const char *name, const char *text)
{
	struct json_object *params = terminal_there(json_object_new_object());

	params_add_text(params, name, text);
	return params;
}

static struct json_object *member(struct json_object *object, const char *name, json_type type)
{
	struct json_object *value = NULL;

	if (!json_object_is_type(object, json_type_object) ||
	    !json_object_object_get_ex(object, name, &value) || !json_object_is_type(value, type))
		return NULL;
	return value;
}

const char *answer_text(struct json_object *object, const char *name)
{
	struct json_object *value = member(object, name, json_type_string);

	return value ? json_object_get_string(value) : "";
}

uint64_t answer_number(struct json_object *object, const char *name)
{
	struct json_object *value = member(object, name, json_type_int);

	return value ? json_object_get_uint64(value) : 0;
}

int64_t answer_integer(struct json_object *object, const char *name)
{
	struct json_object *value = member(object, name, json_type_int);

	return value ? json_object_get_int64(value) : 0;
}

bool answer_boolean(struct json_object *object, const char *name)
{
	struct json_object *value = member(object, name, json_type_boolean);

	return value && json_object_get_boolean(value);
}

bool answer_is_null(struct json_object *object, const char *name)
{
	struct json_object *value = NULL;

	return !json_object_is_type(object, json_type_object) ||
	       !json_object_object_get_ex(object, name, &value) || !value;
}

bool answer_address(struct json_object *object, const char *name, uint64_t *ret_address)
{
	const char *text = answer_text(object, name);
	uint64_t address;
	char *end;

	if (strncmp(text, "0x", 2) != 0 || !text[2] ||
	    strspn(text + 2, "0123456789abcdefABCDEF") != strlen(text + 2))
		return false;
	errno = 0;
	address = strtoull(text, &end, 16);
	if (errno)
		return false;
	*ret_address = address;
	return true;
}

struct json_object *answer_array(struct json_object *object, const char *name, size_t *ret_n)
{
	struct json_object *value = member(object, name, json_type_array);

	*ret_n = value ? json_object_array_length(value) : 0;
	return value;
}

uint32_t answer_vtls(struct json_object *object, const char *name)
{
	uint32_t vtls = 0;
	size_t n;
	struct json_object *array = answer_array(object, name, &n);

	for (size_t i = 0; i < n; i++) {
		struct json_object *value = json_object_array_get_idx(array, i);
		int64_t vtl = json_object_is_type(value, json_type_int)
				      ? json_object_get_int64(value)
				      : -1;

		if (vtl >= 0 && vtl < 16)
			vtls |= UINT32_C(1) << vtl;
	}
	return vtls;
}

struct json_object *answer_object(struct json_object *object, const char *name)
{
	return member(object, name, json_type_object);
}
