/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The messages of the agent socket and of the executor's socket; doc/kvmattr-protocol.7.scd is
 * the same in prose.
 *
 * Both are UNIX SOCK_SEQPACKET: a message is whole or not there, and file descriptors belong to
 * their message.  A message is a header and a body of fixed-size little-endian fields; reserved
 * fields are 0 and are checked.  The structures below are the layout: the hosts that run VSM
 * guests on KVM are little-endian, and the build refuses any other.
 *
 * This room knows bytes and whether they are well-formed; it knows no policy and does no I/O.
 * Received bytes are copied into a structure by the one wire_get_ function of the message, which
 * checks the size, the reserved fields and the enumerations, and names the field that is wrong.
 */
#ifndef KVMATTR_WIRE_H
#define KVMATTR_WIRE_H

#include "kvmattr-types.h"

#include <stddef.h>
#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire is little-endian");

#define WIRE_MAGIC       0x414d564bu /* "KVMA" */
#define WIRE_VERSION     1
#define WIRE_MAX_MESSAGE 65536u
#define WIRE_TEXT_SIZE   256
/* Fds in one message: an executor's socket, one for each view, and the views' statistics. */
#define WIRE_MAX_FDS (1 + 2 * KVMATTR_N_VTLS)

enum wire_type {
	/* agent socket */
	WIRE_HELLO = 1,    /* peer: the first message */
	WIRE_WELCOME = 2,  /* daemon: its answer */
	WIRE_ERROR = 3,    /* daemon: a request was refused, or (closing) the protocol broken */
	WIRE_BYE = 4,      /* either: the last message, and why */
	WIRE_REGISTER = 5, /* peer, becoming an owner; fds: see struct wire_register */
	WIRE_REGISTERED = 6,
	WIRE_UPDATE = 7, /* owner or agent: one or many updates; header.id: the first's seqno */
	WIRE_ANSWER = 8, /* header.id: the last seqno that is answered */
	WIRE_QUERY = 9,  /* effective attributes of a view, as runs */
	WIRE_RUNS = 10,
	WIRE_EXPLAIN = 11, /* who denies an access */
	WIRE_EXPLAINED = 12,
	WIRE_OPEN_AGENT = 13,   /* owner: a socket bound to (VM, VTL, rights) */
	WIRE_AGENT_OPENED = 14, /* fd: that socket */
	WIRE_RESTARTED = 15,    /* daemon, unasked: it is another process now; RESUME is next */
	WIRE_RESUME = 16,       /* peer: goes on with a session of a daemon that died */
	WIRE_RESUMED = 17,
	/* executor's socket */
	WIRE_PROBE = 32, /* daemon: what does KVM say on each target? */
	WIRE_PROBED = 33,
	WIRE_CALLS = 34, /* daemon: carry these out, in order, stop at the first that fails */
	WIRE_CALLED = 35,
};

struct wire_header {
	uint16_t type;
	uint16_t reserved;
	uint32_t size; /* of the whole message, this header included */
	uint64_t id;   /* an answer has its request's */
};
_Static_assert(sizeof(struct wire_header) == 16, "layout");

struct wire_hello {
	struct wire_header header;
	uint32_t magic;
	uint16_t version_min;
	uint16_t version_max;
	char peer[40]; /* who it is, for people; NUL-terminated */
};
_Static_assert(sizeof(struct wire_hello) == 64, "layout");

enum wire_role { WIRE_ROLE_NONE = 0, WIRE_ROLE_OWNER = 1, WIRE_ROLE_AGENT = 2 };

/* What an agent may do beside its protections. */
#define WIRE_RIGHT_VISIBILITY 0x1u
#define WIRE_RIGHTS           WIRE_RIGHT_VISIBILITY

#define WIRE_TOKEN_SIZE 16
#define WIRE_PATH_SIZE  108 /* what sun_path holds */

struct wire_welcome {
	struct wire_header header;
	uint16_t version;
	uint8_t role; /* enum wire_role: an agent's socket comes with its rights */
	uint8_t vtl;  /* of an agent */
	uint32_t rights;
	uint32_t max_message;
	uint32_t max_updates_in_flight;
	uint64_t session;
	char vm[KVMATTR_NAME_SIZE]; /* of an agent */
	char daemon[32];            /* its version, for people */
	/* For RESUME, once the session has a VM: with which secret, where, and for how long. */
	uint8_t token[WIRE_TOKEN_SIZE];
	char agent_socket[WIRE_PATH_SIZE]; /* absolute; "": only the connected socket comes back */
	uint32_t resume_within_ms;         /* of an owner: then its VM is released */
};
_Static_assert(sizeof(struct wire_welcome) == 264, "layout");

/* WIRE_ERROR and WIRE_BYE.  The text is NUL-terminated, for people; the message ends after it. */
struct wire_notice {
	struct wire_header header;
	uint32_t status;  /* enum kvmattr_status */
	uint32_t closing; /* 1: the daemon closes the connection after this */
	char text[WIRE_TEXT_SIZE];
};
_Static_assert(sizeof(struct wire_notice) == 280, "layout");

struct wire_view {
	uint8_t vtl;
	uint8_t abi;       /* enum kvmattr_abi; REGISTER: the pin */
	uint8_t has_stats; /* REGISTER: 1: its KVM statistics' fd came; REGISTERED: 0 */
	uint8_t reserved;
	uint32_t reserved2;
	uint64_t supported; /* REGISTERED: the attribute bits that the kernel takes; REGISTER: 0 */
};
_Static_assert(sizeof(struct wire_view) == 16, "layout");

struct wire_ram {
	uint64_t gfn;
	uint64_t n_pages;
	uint32_t private; /* 1: private from the start */
	uint32_t reserved;
};
_Static_assert(sizeof(struct wire_ram) == 24, "layout");

#define WIRE_MAX_RAM 1024u

/*
 * Followed by n_views struct wire_view, then n_ram struct wire_ram.  fds: the daemon's end of the
 * executor's socket; the views' VMs; of the views that have them, in the same order, what
 * KVM_GET_STATS_FD gave on that VM.
 */
struct wire_register {
	struct wire_header header;
	char name[KVMATTR_NAME_SIZE];
	uint32_t n_views;
	uint32_t n_ram;
};
_Static_assert(sizeof(struct wire_register) == 88, "layout");

enum wire_executor { WIRE_EXECUTOR_VMM = 1, WIRE_EXECUTOR_DAEMON = 2 };

/* Followed by n_views struct wire_view, as probed, in the order of registration. */
struct wire_registered {
	struct wire_header header;
	uint32_t executor; /* enum wire_executor: where the calls are carried out */
	uint32_t n_views;
};
_Static_assert(sizeof(struct wire_registered) == 24, "layout");

/* The daemon is another process now.  What was sent and not answered has to be sent again, after RESUME. */
struct wire_restarted {
	struct wire_header header; /* id: one of its own for each process; not 0 */
};
_Static_assert(sizeof(struct wire_restarted) == 16, "layout");

/*
 * On a new connection, after its WELCOME, or after RESTARTED on the old one.  Followed by n_views
 * struct wire_view, and with fds, as in REGISTER: both from an owner on a new connection; else
 * n_views is 0 and there are no fds.
 */
struct wire_resume {
	struct wire_header header;
	uint64_t session;
	uint8_t token[WIRE_TOKEN_SIZE];
	uint64_t answered;  /* the last seqno of which the peer has the answer; 0: none */
	uint64_t restarted; /* header.id of the RESTARTED that it follows; 0: a new connection */
	uint32_t n_views;
	uint32_t reserved;
};
_Static_assert(sizeof(struct wire_resume) == 64, "layout");

/*
 * The connection is the session's from here on.  ANSWERs follow for the seqnos behind answered, up
 * to settled; what the peer sent behind that is not known any more: the next UPDATE has settled + 1.
 * Of an owner, followed by n_views struct wire_view, as in REGISTERED.
 */
struct wire_resumed {
	struct wire_header header;
	uint64_t settled;
	uint32_t executor; /* of an owner: enum wire_executor; of an agent 0 */
	uint32_t n_views;  /* of an agent 0 */
};
_Static_assert(sizeof(struct wire_resumed) == 32, "layout");

enum wire_form { WIRE_FORM_NONE = 0, WIRE_FORM_PAGES = 1, WIRE_FORM_RANGES = 2 };

/*
 * Followed by n_elements GFNs of 8 bytes (WIRE_FORM_PAGES: what a rep hypercall's GpaPageList
 * holds, sent as it is), or as many struct kvmattr_range (WIRE_FORM_RANGES).
 */
struct wire_update {
	uint8_t kind;        /* enum kvmattr_update_kind */
	uint8_t form;        /* enum wire_form */
	uint8_t layer;       /* the imposing VTL; 0 where the kind has none */
	uint8_t value;       /* a protection, or 1 for private */
	uint16_t restricted; /* set of VTLs; 0 where the kind has none */
	uint8_t mbec;        /* ENABLE_LAYER: 1 with mode-based execute control */
	uint8_t reserved;
	uint32_t n_elements;
	uint32_t reserved2;
};
_Static_assert(sizeof(struct wire_update) == 16, "layout");

/* Followed by n_updates struct wire_update, each with its elements.  header.id: first seqno. */
struct wire_update_list {
	struct wire_header header;
	uint32_t n_updates;
	uint32_t reserved;
};
_Static_assert(sizeof(struct wire_update_list) == 24, "layout");

/* One update that was not done whole. */
struct wire_failure {
	uint64_t seqno;
	uint32_t status;     /* enum kvmattr_status */
	uint32_t n_in_force; /* its first elements that are in force */
	char text[112];      /* why, for people; NUL-terminated */
};
_Static_assert(sizeof(struct wire_failure) == 128, "layout");

/*
 * Every update up to header.id is answered: those among n_failures as they say, the others
 * are in force in every view.  Followed by the failures, in the order of their seqnos.
 */
struct wire_answer {
	struct wire_header header;
	uint64_t commit; /* the VM's commit number at which the last of them is in force */
	uint32_t n_failures;
	uint32_t reserved;
};
_Static_assert(sizeof(struct wire_answer) == 32, "layout");

struct wire_query {
	struct wire_header header;
	uint64_t gfn;
	uint64_t n_pages;
	uint32_t vtl;
	uint32_t max_runs; /* at most this many; 0: as many as fit a message */
};
_Static_assert(sizeof(struct wire_query) == 40, "layout");

struct wire_run {
	uint64_t gfn;
	uint64_t n_pages;
	uint32_t attributes; /* a protection, KVMATTR_PRIVATE */
	uint32_t state;      /* enum wire_page_state */
};
_Static_assert(sizeof(struct wire_run) == 24, "layout");

enum wire_page_state {
	WIRE_IN_FORCE = 0, /* the kernel enforces these attributes */
	WIRE_PENDING = 1,  /* accepted; a batch under way brings them about */
	WIRE_UNKNOWN = 2,  /* what the kernel holds is not known (degraded) */
};

/* Followed by n_runs struct wire_run: RAM only, in the order of GFNs.  Go on at next_gfn. */
struct wire_runs {
	struct wire_header header;
	uint64_t next_gfn; /* the end of the query where it is answered whole */
	uint64_t commit;
	uint32_t n_runs;
	uint32_t reserved;
};
_Static_assert(sizeof(struct wire_runs) == 40, "layout");

struct wire_explain {
	struct wire_header header;
	uint64_t gfn;
	uint8_t vtl;
	uint8_t access; /* KVMATTR_READ, KVMATTR_WRITE, KVMATTR_EXECUTE bits: what the guest did */
	uint16_t reserved;
	uint32_t reserved2;
};
_Static_assert(sizeof(struct wire_explain) == 32, "layout");

struct wire_explained {
	struct wire_header header;
	uint64_t gfn;
	uint8_t allowed;    /* 1: no layer denies it; if the guest was stopped, let it try again */
	uint8_t layer;      /* the highest VTL that denies it: where the intercept goes */
	uint16_t denying;   /* set of all that deny it */
	uint8_t attributes; /* effective */
	uint8_t state;      /* enum wire_page_state */
	uint16_t reserved;
};
_Static_assert(sizeof(struct wire_explained) == 32, "layout");

struct wire_open_agent {
	struct wire_header header;
	uint32_t vtl;
	uint32_t rights;
};
_Static_assert(sizeof(struct wire_open_agent) == 24, "layout");

/* The executor's socket.  A target is a place in the order in which the fds were registered. */
struct wire_probe {
	struct wire_header header;
	uint32_t n_targets;
	uint32_t reserved;
};
_Static_assert(sizeof(struct wire_probe) == 24, "layout");

/* What KVM said on one target, uninterpreted. */
struct wire_probe_result {
	uint64_t v10_supported;
	int32_t v10_errno; /* of KVM_GET_SUPPORTED_MEMORY_ATTRIBUTES; 0 if it answered */
	int32_t cap_errno; /* of KVM_CHECK_EXTENSION; 0 if it answered */
	uint64_t cap;      /* KVM_CAP_MEMORY_ATTRIBUTES */
};
_Static_assert(sizeof(struct wire_probe_result) == 24, "layout");

/* Followed by n_targets struct wire_probe_result. */
struct wire_probed {
	struct wire_header header;
	uint32_t n_targets;
	uint32_t reserved;
};
_Static_assert(sizeof(struct wire_probed) == 24, "layout");

struct wire_call {
	uint64_t gpa;        /* bytes */
	uint64_t size;       /* bytes */
	uint64_t attributes; /* in the target's dialect */
	uint16_t target;
	uint16_t abi; /* enum kvmattr_abi: which of KVM's calls to make */
	uint32_t reserved;
};
_Static_assert(sizeof(struct wire_call) == 32, "layout");

/* Followed by n_calls struct wire_call. */
struct wire_calls {
	struct wire_header header;
	uint32_t n_calls;
	uint32_t reserved;
};
_Static_assert(sizeof(struct wire_calls) == 24, "layout");

#define WIRE_MAX_CALLS ((WIRE_MAX_MESSAGE - sizeof(struct wire_calls)) / sizeof(struct wire_call))

struct wire_called {
	struct wire_header header;
	uint32_t n_done;  /* calls done whole; the next one failed if error is not 0 */
	int32_t error;    /* 0 or an errno, positive */
	uint64_t partial; /* bytes of the failed call that are done nevertheless (v10) */
};
_Static_assert(sizeof(struct wire_called) == 32, "layout");

/* Starts a message: type, size and id; everything else is the caller's. */
struct wire_header wire_header_make(uint16_t type, size_t size, uint64_t id);

/*
 * Each copies a received message's fixed part to *ret and checks it.  Returns NULL if it is
 * well-formed, else the name of the field that is wrong (static), and *ret is not to be used.
 * Where parts follow the fixed part, their number was checked against the size; the wire_at_
 * function copies and checks the i-th.  Any thread.
 */
const char *wire_get_header(const void *data, size_t size, struct wire_header *ret);
const char *wire_get_hello(const void *data, size_t size, struct wire_hello *ret);
const char *wire_get_welcome(const void *data, size_t size, struct wire_welcome *ret);
const char *wire_get_notice(const void *data, size_t size, struct wire_notice *ret);
const char *wire_get_register(const void *data, size_t size, struct wire_register *ret);
const char *wire_at_register_view(const void *data, const struct wire_register *m, uint32_t i,
				  struct wire_view *ret);
const char *wire_at_register_ram(const void *data, const struct wire_register *m, uint32_t i,
				 struct wire_ram *ret);
const char *wire_get_registered(const void *data, size_t size, struct wire_registered *ret);
const char *wire_at_registered_view(const void *data, uint32_t i, struct wire_view *ret);
const char *wire_get_update_list(const void *data, size_t size, struct wire_update_list *ret);
/* The update at *offset of the message; moves *offset behind its elements. */
const char *wire_next_update(const void *data, size_t size, size_t *offset, struct wire_update *ret,
			     const uint8_t **ret_elements);
const char *wire_get_answer(const void *data, size_t size, struct wire_answer *ret);
const char *wire_at_failure(const void *data, uint32_t i, struct wire_failure *ret);
const char *wire_get_query(const void *data, size_t size, struct wire_query *ret);
const char *wire_get_runs(const void *data, size_t size, struct wire_runs *ret);
const char *wire_at_run(const void *data, uint32_t i, struct wire_run *ret);
const char *wire_get_explain(const void *data, size_t size, struct wire_explain *ret);
const char *wire_get_explained(const void *data, size_t size, struct wire_explained *ret);
const char *wire_get_open_agent(const void *data, size_t size, struct wire_open_agent *ret);
const char *wire_get_restarted(const void *data, size_t size, struct wire_restarted *ret);
const char *wire_get_resume(const void *data, size_t size, struct wire_resume *ret);
const char *wire_at_resume_view(const void *data, uint32_t i, struct wire_view *ret);
const char *wire_get_resumed(const void *data, size_t size, struct wire_resumed *ret);
const char *wire_at_resumed_view(const void *data, uint32_t i, struct wire_view *ret);
const char *wire_get_probe(const void *data, size_t size, struct wire_probe *ret);
const char *wire_get_probed(const void *data, size_t size, struct wire_probed *ret);
const char *wire_at_probe_result(const void *data, uint32_t i, struct wire_probe_result *ret);
const char *wire_get_calls(const void *data, size_t size, struct wire_calls *ret);
const char *wire_at_call(const void *data, uint32_t i, struct wire_call *ret);
const char *wire_get_called(const void *data, size_t size, struct wire_called *ret);

/* The GFN or range at place i of an update's elements. */
uint64_t wire_page_at(const uint8_t *elements, uint32_t i);
struct kvmattr_range wire_range_at(const uint8_t *elements, uint32_t i);
/* The size in bytes of one element of that form; 0 for WIRE_FORM_NONE. */
size_t wire_element_size(unsigned int form);
/* How many of n views, as their owner names them, have a descriptor of statistics. */
uint32_t wire_count_stats(const struct wire_view *views, uint32_t n);

#endif
