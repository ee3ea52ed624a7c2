/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmattrd: reads its options, holds its directories, opens its sockets, recovers what an earlier
 * daemon left, and runs the loop.
 */
#include "config.h"

#include "allocate.h"
#include "configuration.h"
#include "directories.h"
#include "log.h"
#include "sandbox.h"
#include "serve/archivist.h"
#include "serve/authority.h"
#include "serve/control.h"
#include "serve/daemon.h"
#include "serve/fd-store.h"
#include "serve/listener.h"
#include "serve/memory.h"
#include "serve/recovery.h"
#include "serve/service-manager.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define AGENT_SOCKET   "agent.sock"
#define CONTROL_SOCKET "control.sock"

__attribute__((visibility("default"))) const char *argp_program_version = PACKAGE_STRING;

struct options {
	const char *config;
	char *runtime_dir;
	char *state_dir;
	bool allow_simulated;
	bool no_sandbox;
	bool foreground;
	int log_level; /* -1: not given */
};

enum { OPTION_STATE_DIR = 256, OPTION_ALLOW_SIMULATED, OPTION_NO_SANDBOX, OPTION_LOG_LEVEL };

static const struct argp_option option_table[] = {
	{ "foreground", 'f', NULL, 0, "Stay in the foreground and log to stderr", 0 },
	{ "runtime-dir", 'r', "DIR", 0,
	  "Where agent.sock and control.sock go (default: /run/kvmattrd)", 0 },
	{ "state-dir", OPTION_STATE_DIR, "DIR", 0,
	  "Where the journals go, which outlive the daemon (default: /var/lib/kvmattrd)", 0 },
	{ "config", 'c', "FILE", 0, "Read settings from FILE; the command line goes first", 0 },
	{ "allow-simulated", OPTION_ALLOW_SIMULATED, NULL, 0,
	  "Take VMs that only pretend to be one, as kvmattr-simvm makes them: for tests", 0 },
	{ "no-sandbox", OPTION_NO_SANDBOX, NULL, 0,
	  "Keep every right that the daemon was started with: for debuggers and valgrind", 0 },
	{ "log-level", OPTION_LOG_LEVEL, "LEVEL", 0, "error, warning, info (default) or debug", 0 },
	{ 0 },
};

static error_t take_option(int key, char *argument, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case 'f':
		options->foreground = true;
		return 0;
	case 'r':
		options->runtime_dir = argument;
		return 0;
	case 'c':
		options->config = argument;
		return 0;
	case OPTION_STATE_DIR:
		options->state_dir = argument;
		return 0;
	case OPTION_ALLOW_SIMULATED:
		options->allow_simulated = true;
		return 0;
	case OPTION_NO_SANDBOX:
		options->no_sandbox = true;
		return 0;
	case OPTION_LOG_LEVEL:
		options->log_level = log_level_from_name(argument);
		if (options->log_level < 0)
			argp_error(state, "no log level '%s': error, warning, info or debug",
				   argument);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = option_table,
	.parser = take_option,
	.doc = "Keeps the memory protections of guests' Virtual Trust Levels and has KVM enforce them.\v"
	       "VMMs hand over their VMs on DIR/agent.sock; kvmattrctl looks in through "
	       "DIR/control.sock.  See kvmattrd(8).",
};

static void replace(char **setting, const char *value)
{
	if (!value)
		return;
	free(*setting);
	*setting = allocate_string(value);
}

static int configure(struct configuration *configuration, const struct options *options)
{
	configuration_init(configuration);
	if (options->config) {
		int r = configuration_read(configuration, options->config);

		if (r < 0)
			return r;
	}
	replace(&configuration->runtime_dir, options->runtime_dir);
	replace(&configuration->state_dir, options->state_dir);
	configuration->allow_simulated |= options->allow_simulated;
	if (options->no_sandbox)
		configuration->sandbox = false;
	if (options->log_level >= 0)
		configuration->log_level = (uint64_t)options->log_level;
	return 0;
}

/*
 * Goes on in a child; the parent waits until the child writes to the returned pipe that it is
 * ready, and ends with 0, or with 1 if the child ends before.
 */
static int go_into_the_background(void)
{
	int ends[2];
	char ready;
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	child = fork();
	if (child < 0)
		return -errno;
	if (child) {
		close(ends[1]);
		_exit(read(ends[0], &ready, 1) == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
	}
	close(ends[0]);
	setsid();
	return ends[1];
}

/* Whoever started the daemon without a service manager may go. */
static void leave_terminal(int ready_fd)
{
	int null;

	if (ready_fd < 0)
		return;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		close(null);
	}
	log_open(true);
	(void)!write(ready_fd, "1", 1);
	close(ready_fd);
}

/* What runs, and what it was told to be. */
struct service {
	const struct options *options;
	struct configuration *configuration;
	struct daemon daemon;
	struct service_manager *manager;
};

static struct daemon_limits limits_of(const struct configuration *configuration)
{
	return (struct daemon_limits){
		.vm = {
			.max_pages_per_call = configuration->max_pages_per_call,
			.max_elements_per_batch = configuration->max_elements_per_batch,
			.executor_deadline_ms = (unsigned int)configuration->executor_deadline_ms,
		},
		.max_map_bytes = configuration->max_map_mib << 20,
		.max_memory_bytes = configuration_memory_mib(configuration) << 20,
		.max_memory_bytes_per_user =
			configuration_memory_mib_per_user(configuration) << 20,
		.max_vms = (unsigned int)configuration->max_vms,
		.max_sessions = (unsigned int)configuration->max_sessions,
		.max_vms_per_user = (unsigned int)configuration->max_vms_per_user,
		.max_sessions_per_user = (unsigned int)configuration->max_sessions_per_user,
		.max_clients_per_user = (unsigned int)configuration->max_clients_per_user,
		.max_updates_in_flight = (unsigned int)configuration->max_updates_in_flight,
		.owner_grace_ms = (unsigned int)configuration->owner_grace_ms,
		.agent_grace_ms = (unsigned int)configuration->agent_grace_ms,
	};
}

/* Settings that can change while the daemon runs. */
static void apply(const struct configuration *configuration, struct daemon *daemon)
{
	struct vm_journals *journals = &daemon->journals;
	const struct hosted_vm *hosted;

	log_set_level((enum log_level)configuration->log_level);
	daemon->limits = limits_of(configuration);
	daemon->allow_simulated = configuration->allow_simulated;
	authority_set(daemon->authority, AUTHORITY_REGISTER, configuration->may_register);
	authority_set(daemon->authority, AUTHORITY_OBSERVE, configuration->may_observe);
	authority_set(daemon->authority, AUTHORITY_OPERATE, configuration->may_operate);
	journals->segment_size = configuration->journal_segment_mib << 20;
	journals->max_size = configuration->journal_mib << 20;
	journals->max_past = (unsigned int)configuration->past_journals;
	LIST_FOREACH (hosted, &daemon->vms, list)
		if (hosted->vm)
			vm_set_limits(hosted->vm, &daemon->limits.vm);
	memory_look_again(daemon->memory);
}

static void reload(evutil_socket_t unused, short events, void *context)
{
	struct service *service = context;
	struct configuration configuration;

	(void)unused;
	(void)events;
	service_manager_tell_reloading(service->manager);
	if (configure(&configuration, service->options) < 0) {
		log_with_id(LOG_ID_SETTINGS_REFUSED, LOG_ABOUT_NOTHING,
			    "the settings stay as they were");
	} else {
		configuration_take_over(service->configuration, &configuration);
		apply(service->configuration, &service->daemon);
		log_with_id(LOG_ID_SETTINGS_READ, LOG_ABOUT_NOTHING, "settings were read anew%s",
			    service->options->config ? "" : "; there is no file, see --config");
	}
	configuration_destroy(&configuration);
	service_manager_tell_ready(service->manager);
}

static void stop(evutil_socket_t number, short events, void *base)
{
	(void)events;
	log_with_id(LOG_ID_STOPPING, LOG_ABOUT_NOTHING, "stopping: %s", strsignal(number));
	event_base_loopbreak(base);
}

/* Descriptors that there is room for from the start; more than most daemons ever have. */
#define FD_TABLE_SIZE 16384u

/*
 * Every VM costs a few descriptors, every agent one.  The kernel's table of them grows by doubling,
 * and a process with threads sleeps for some 50 ms each time (expand_files() waits for RCU): so it
 * grows now, once.
 */
static void make_room_for_fds(void)
{
	struct rlimit limit;
	int fd;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC,
		   (int)(limit.rlim_max < FD_TABLE_SIZE ? limit.rlim_max : FD_TABLE_SIZE) - 1);
	if (fd >= 0)
		close(fd);
}

/* Where peers find the agent socket again, wherever they are by then. */
static void tell_agent_socket(const struct configuration *configuration, struct daemon *daemon)
{
	char *directory = realpath(configuration->runtime_dir, NULL);
	char path[PATH_MAX];
	int n;

	if (!directory)
		return;
	n = snprintf(path, sizeof(path), "%s/" AGENT_SOCKET, directory);
	if (n > 0 && (size_t)n < sizeof(daemon->agent_socket))
		memcpy(daemon->agent_socket, path, (size_t)n + 1);
	free(directory);
}

static int enter_sandbox(const struct service *service)
{
	const struct sandbox_places places = {
		.state_dir = service->configuration->state_dir,
		.runtime_dir = service->configuration->runtime_dir,
		.config = service->options->config,
	};

	if (service->configuration->sandbox && sandbox_is_built_in)
		return sandbox_enter(&places);
	log_with_id(LOG_ID_NOT_CONFINED, LOG_ABOUT_NOTHING,
		    "the daemon keeps every right that it was started with: %s",
		    sandbox_is_built_in ? "it is to run without a sandbox"
					: "it was built with sanitizers");
	return 0;
}

static int open_journals(const struct configuration *configuration, struct daemon *daemon)
{
	struct vm_journals *journals = &daemon->journals;
	char *path;
	int r;

	journals->base = daemon->base;
	journals->archivist = archivist_new(daemon->base);
	journals->durability = (enum durability)configuration->durability;
	if (!journals->archivist)
		log_write(LOG_LEVEL_ERROR, "there are no file descriptors left to begin with; "
					   "raise LimitNOFILE");
	r = journals->archivist ? vm_journals_open(journals, configuration->state_dir) : -EMFILE;
	if (r < 0 || asprintf(&path, "%s/vms", configuration->state_dir) < 0) {
		archivist_free(journals->archivist);
		return r < 0 ? r : -ENOMEM;
	}
	daemon->journals_path = path;
	return 0;
}

static void close_journals(struct daemon *daemon)
{
	archivist_free(daemon->journals.archivist);
	vm_journals_close(&daemon->journals);
	free(daemon->journals_path);
}

/* Who sends them while the daemon starts is heard when it has started: it ends in good order. */
static void hold_back_signals(int how)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(how, &signals, NULL);
}

/* Serves until a signal says to stop. */
static int run(struct service *service, int control_socket, int ready_fd)
{
	struct event_base *base = service->daemon.base;
	struct event *on_hangup = evsignal_new(base, SIGHUP, reload, service);
	struct event *on_int = evsignal_new(base, SIGINT, stop, base);
	struct event *on_term = evsignal_new(base, SIGTERM, stop, base);
	struct control *control;
	int r = control_new(&service->daemon, control_socket, &control);

	if (r < 0) {
		log_write(LOG_LEVEL_ERROR, "cannot serve the control socket: %s", strerror(-r));
	} else {
		event_add(on_hangup, NULL);
		event_add(on_int, NULL);
		event_add(on_term, NULL);
		hold_back_signals(SIG_UNBLOCK);
		log_with_id(LOG_ID_STARTED, LOG_ABOUT_NOTHING, "%s serves in %s%s", PACKAGE_STRING,
			    service->configuration->runtime_dir,
			    service->configuration->allow_simulated ? ", simulated VMs allowed"
								    : "");
		service_manager_tell_ready(service->manager);
		leave_terminal(ready_fd);
		r = daemon_loop(&service->daemon);
		control_free(control);
	}
	event_free(on_hangup);
	event_free(on_int);
	event_free(on_term);
	return r;
}

static int serve(struct service *service, struct fd_store *store, int agent_socket,
		 int control_socket, int ready_fd)
{
	struct daemon *daemon = &service->daemon;
	struct event_base *base = event_base_new();
	struct listener *listener;
	int r;

	if (!base) {
		log_write(LOG_LEVEL_ERROR, "libevent finds no way to wait for events here");
		return -ENOSYS;
	}
	daemon_init(daemon, base);
	daemon->fd_store = store;
	apply(service->configuration, daemon);
	tell_agent_socket(service->configuration, daemon);
	/* Journals are read, and threads made, from within. */
	r = enter_sandbox(service);
	if (!r)
		r = open_journals(service->configuration, daemon);
	if (!r)
		r = recovery_run(daemon);
	if (!r) {
		fd_store_forget_untaken(store);
		listener = listener_new(daemon, agent_socket, listener_take_in_session, daemon);
		service->manager = daemon->manager = service_manager_new(daemon);
		r = run(service, control_socket, ready_fd);
		service_manager_free(service->manager);
		daemon->manager = NULL;
		listener_free(listener);
	}
	daemon_destroy(daemon);
	if (daemon->journals_path)
		close_journals(daemon);
	event_base_free(base);
	libevent_global_shutdown();
	return r;
}

/* A socket that listens: the one on which peers may be waiting already, or a new one. */
static int listen_in(const struct configuration *configuration, struct fd_store *store,
		     const char *name, int type)
{
	const struct directory_access access = {
		.mode = (mode_t)configuration->socket_mode,
		.group = (gid_t)configuration->socket_group,
	};
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", configuration->runtime_dir, name);
	fd = fd_store_take_listener(store, name, type, path);
	if (fd >= 0)
		return fd;
	fd = directory_listen(configuration->runtime_dir, name, type, &access);
	if (fd >= 0)
		fd_store_keep(store, name, fd);
	return fd;
}

static int hold_and_serve(struct service *service, struct fd_store *store, int ready_fd)
{
	const struct configuration *configuration = service->configuration;
	int runtime_lock, state_lock, agent_socket = -1, control_socket = -1, r;

	runtime_lock = directory_hold(configuration->runtime_dir, 0755);
	if (runtime_lock < 0)
		return runtime_lock;
	state_lock = directory_hold(configuration->state_dir, 0700);
	if (state_lock < 0) {
		close(runtime_lock);
		return state_lock;
	}
	r = agent_socket = listen_in(configuration, store, AGENT_SOCKET, SOCK_SEQPACKET);
	if (r >= 0)
		r = control_socket = listen_in(configuration, store, CONTROL_SOCKET, SOCK_STREAM);
	if (r >= 0)
		r = serve(service, store, agent_socket, control_socket, ready_fd);
	else if (agent_socket >= 0)
		close(agent_socket);
	/* Where the sockets go on without us, peers find them as they are. */
	if (!fd_store_outlives_us(store)) {
		if (agent_socket >= 0)
			directory_remove_socket(configuration->runtime_dir, AGENT_SOCKET);
		if (control_socket >= 0)
			directory_remove_socket(configuration->runtime_dir, CONTROL_SOCKET);
	}
	close(state_lock);
	close(runtime_lock);
	return r;
}

int main(int argc, char **argv)
{
	struct options options = { .log_level = -1 };
	struct configuration configuration;
	struct service service = { .options = &options, .configuration = &configuration };
	struct fd_store *store;
	int r, ready_fd = -1;

	argp_parse(&argp, argc, argv, 0, NULL, &options);
	log_open(false);
	store = fd_store_new();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a journal that may not grow is an error, not the end */
	make_room_for_fds();
	r = configure(&configuration, &options);
	if (!r)
		log_set_level((enum log_level)configuration.log_level);
	/* Under systemd the foreground is the background. */
	if (!r && !options.foreground && !getenv("NOTIFY_SOCKET")) {
		ready_fd = go_into_the_background();
		r = ready_fd < 0 ? ready_fd : 0;
	}
	hold_back_signals(SIG_BLOCK);
	if (!r)
		r = hold_and_serve(&service, store, ready_fd);
	fd_store_free(store);
	configuration_destroy(&configuration);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
