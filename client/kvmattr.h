/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libkvmattr: give a VM to kvmattrd, carry out its calls, and ask for protections.
 *
 * A VMM registers its VM on a connection of its own and is its owner from then on:
 *
 *	struct kvmattr *vmm;
 *	kvmattr_connect(NULL, "my-vmm", &vmm);
 *	kvmattr_register(vmm, &vm);               // name, RAM, one KVM VM fd for each VTL
 *	kvmattr_start_executor(vmm);              // a thread that makes KVM's calls, here
 *	kvmattr_open_agent(vmm, 1, 0, &fd);       // a socket that speaks for VTL 1
 *
 * Whoever holds that socket is VTL 1's agent, be it a thread or another process:
 *
 *	kvmattr_adopt(fd, "secure-kernel", &agent);
 *	kvmattr_enable_layer(agent, 1, KVMATTR_RWX, 0);
 *	kvmattr_protect(agent, 1, KVMATTR_ALL_LOWER, KVMATTR_RX, gfns, n, NULL);
 *
 * When a call that changes something returns KVMATTR_OK, KVM enforces it on every vCPU.
 *
 * When the daemon dies, is restarted or upgraded, KVM goes on enforcing, and the library finds its
 * successor by itself: an owner's or an agent's calls that wait take longer, nothing else.  Every
 * update is carried out once, and completed once.  It looks for the successor as long as the
 * daemon's owner-grace-ms says (kvmattrd.conf(5), 30 seconds by default), after which the VM would
 * be released; then the connection breaks.
 *
 * Results: 0 (KVMATTR_OK) is success; a positive number is an enum kvmattr_status, an outcome
 * that the caller has to handle; a negative one an errno: -EPIPE when the daemon or the VM is
 * gone for good (kvmattr_message() says why), -EPROTO when the daemon breaks the protocol, -ENOMEM
 * and so on.  After a negative result from a connection it is only good for kvmattr_close().
 *
 * Threads: one connection is used by one thread at a time; different connections are independent.
 * The executor has its own thread, or one of the VMM's, beside that of its owner's connection.
 * Completions are called by whoever makes a call on their connection, never from the executor's
 * thread.  No function installs a signal handler or raises SIGPIPE.
 *
 * fork(): connections and the executor stay the parent's.  A child makes its own connections; of
 * those it inherited it may only kvmattr_close(), which there frees the child's copy and tells
 * the daemon nothing.  All descriptors are close-on-exec.
 */
#ifndef KVMATTR_H
#define KVMATTR_H

#include <kvmattr-types.h>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KVMATTR_CHECK_RESULT __attribute__((warn_unused_result))

/* What the library exports, however it is compiled. */
#pragma GCC visibility push(default)

/* The agent socket of a system-wide daemon; KVMATTR_RUNTIME_DIR in the environment overrides it. */
#define KVMATTR_AGENT_SOCKET "/run/kvmattrd/agent.sock"

/* A connection: an owner's, an agent's, or nobody's yet.  Opaque. */
struct kvmattr;

/*
 * Connects to the daemon's agent socket at path (NULL: $KVMATTR_RUNTIME_DIR/agent.sock, or
 * KVMATTR_AGENT_SOCKET).  name says who this is, for logs and operators: at most 39 bytes.
 * Blocks for the daemon's answer.  *ret is for kvmattr_close().  KVMATTR_VERSION_MISMATCH,
 * KVMATTR_LIMIT_EXCEEDED, KVMATTR_ACCESS_DENIED, or connect()'s errno: kvmattr_message(NULL)
 * says it in words.
 */
KVMATTR_CHECK_RESULT int kvmattr_connect(const char *path, const char *name, struct kvmattr **ret);

/*
 * Becomes the agent that fd, from kvmattr_open_agent(), speaks for.  Blocks for the daemon's
 * answer.  fd is the connection's from then on; on failure it is closed.  Results as above, and
 * KVMATTR_NO_VM if the VM is gone.
 */
KVMATTR_CHECK_RESULT int kvmattr_adopt(int fd, const char *name, struct kvmattr **ret);

/*
 * Says goodbye and closes, waiting for nobody but the executor's thread, which is stopped and
 * joined.  An owner's VM is released: its agents are told, and its protections are no longer kept;
 * where the daemon is away at that moment, as soon as it has waited for this owner in vain.
 * Updates that are not answered are completed with KVMATTR_NO_VM, whatever becomes of them, and
 * what was submitted and not flushed is not sent: kvmattr_wait() first.  NULL is fine.
 */
void kvmattr_close(struct kvmattr *connection);

/*
 * What the last call on this connection that did not return 0 has to say, or "".  Valid until
 * the next call.  For NULL: why this thread's last kvmattr_connect() or kvmattr_adopt() failed.
 */
const char *kvmattr_message(const struct kvmattr *connection);

/* ---- Owner: register a VM ------------------------------------------------------------------ */

/*
 * Instead of KVM, for a VMM that simulates one.  probe answers as KVM's two probes would; 0 or a
 * positive errno each.  set_attributes is one ioctl: it moves *gpa and *size past what it did,
 * and returns 0 or a positive errno.  view counts from 0 in the order of registration.  Both are
 * called by whoever runs the executor, one call at a time, and must not call this library.
 */
struct kvmattr_executor_ops {
	void (*probe)(void *context, uint32_t view, int *ret_v10_errno, uint64_t *ret_v10_supported,
		      int *ret_cap_errno, uint64_t *ret_cap);
	int (*set_attributes)(void *context, uint32_t view, enum kvmattr_abi abi, uint64_t *gpa,
			      uint64_t *size, uint64_t attributes);
	void *context;
};

struct kvmattr_view {
	uint8_t vtl; /* 0 to 15; VTL 0 has to be among a VM's views */
	/* The KVM VM on which this VTL's attributes are set.  It stays the caller's, who may close
	 * it: the library and the daemon keep duplicates, until kvmattr_close().  The library's are
	 * for a daemon that comes back without its own. */
	int fd;
	enum kvmattr_abi pin; /* KVMATTR_ABI_PROBE, or the one dialect that is acceptable */
};

struct kvmattr_ram {
	struct kvmattr_range range;
	int is_private; /* private from the start */
};

struct kvmattr_vm {
	const char *name;
	const struct kvmattr_view *views;
	size_t n_views;
	const struct kvmattr_ram *ram; /* 0 to 1024; kvmattr_add_ram() adds more */
	size_t n_ram;
	const struct kvmattr_executor_ops *simulated; /* NULL for KVM; copied */
};

/* What the registration found out. */
struct kvmattr_registration {
	int executor_in_daemon; /* the kernel takes the daemon's own calls; no executor is needed here */
	size_t n_views;
	struct {
		uint8_t vtl;
		enum kvmattr_abi abi;
		uint64_t supported; /* the kernel's attribute bits */
	} views[KVMATTR_N_VTLS];
};

/*
 * Hands the VM to the daemon and makes the connection its owner.  Returns when all RAM has its
 * attributes in KVM; the executor runs inside this call while it lasts.  A daemon that dies
 * meanwhile is waited for, and the registration completed or begun anew.  ret may be NULL.
 * KVMATTR_VM_EXISTS, KVMATTR_NOT_A_VM, KVMATTR_INVALID_PARAMETER, KVMATTR_UNSUPPORTED (this kernel
 * has no memory attributes for the VM: kvmattr_message() says what is missing), KVMATTR_ABI_MISMATCH,
 * KVMATTR_ACCESS_DENIED (the daemon's settings do not list whoever made the connection).
 */
KVMATTR_CHECK_RESULT int kvmattr_register(struct kvmattr *owner, const struct kvmattr_vm *vm,
					  struct kvmattr_registration *ret);

/*
 * The executor, after kvmattr_register(): either a thread of the library's own, with all signals
 * blocked, which also looks for a daemon that went away while the VMM makes no call; that is all
 * it does where the executor is in the daemon,
 */
KVMATTR_CHECK_RESULT int kvmattr_start_executor(struct kvmattr *owner);
/*
 * or the VMM's event loop: poll the fd for input and call kvmattr_dispatch_executor(), from any
 * one thread, which carries out what is there without waiting, and sees to it that the owner goes
 * on with a daemon that came back.  0: go on; -EPIPE: the daemon let go of the VM, stop polling.
 * The fd is the same as long as the connection.  Calls of the owner's connection that wait serve
 * the executor as well, so that the event loop's thread may make them; but that thread must not
 * wait on an agent's connection, whose answer would wait for itself: kvmattr_submit() and
 * kvmattr_dispatch().  The fd is -1, and kvmattr_dispatch_executor() does nothing, where the
 * executor is in the daemon: then poll kvmattr_fd(), or start the thread.
 */
int kvmattr_executor_fd(const struct kvmattr *owner);
KVMATTR_CHECK_RESULT int kvmattr_dispatch_executor(struct kvmattr *owner);

/* What an agent may do beside protections at its VTL and below. */
#define KVMATTR_RIGHT_VISIBILITY 0x1u

/*
 * A connected socket that speaks for VTL vtl of the owner's VM with these rights: pass it to the
 * agent; whoever holds it is the agent.  *ret_fd is the caller's.  Until it is adopted it does not
 * outlive the daemon, unless systemd keeps it: open another one then.
 */
KVMATTR_CHECK_RESULT int kvmattr_open_agent(struct kvmattr *owner, unsigned int vtl,
					    unsigned int rights, int *ret_fd);

/* ---- Owner and agent: updates -------------------------------------------------------------- */

/*
 * Exactly one of gfns and ranges is set, or none for the kinds without elements; n is their
 * number.  At most KVMATTR_MAX_PAGES pages or KVMATTR_MAX_RANGES ranges in one update.
 */
struct kvmattr_update {
	enum kvmattr_update_kind kind;
	uint8_t layer;       /* the imposing VTL, 1 to 15; 0 where the kind has none */
	uint8_t value;       /* a protection, or 1 for private */
	uint16_t restricted; /* set of restricted VTLs, or KVMATTR_ALL_LOWER; 0 where none */
	uint8_t mbec;        /* KVMATTR_ENABLE_LAYER: mode-based execute control is on */
	const uint64_t *gfns;
	const struct kvmattr_range *ranges;
	uint32_t n;
};

#define KVMATTR_MAX_PAGES  8184u
#define KVMATTR_MAX_RANGES 4092u

struct kvmattr_answer {
	uint64_t seqno;      /* of the update in its session */
	uint64_t commit;     /* the VM's commit number at which it is in force, or before */
	int status;          /* enum kvmattr_status */
	uint32_t n_in_force; /* of its elements, from the first; all if KVMATTR_OK */
	const char *text;    /* why, for people; "" if KVMATTR_OK; valid during the call */
};

/*
 * Does one update and waits until it is in force.  Completions of pipelined updates that come
 * before it are delivered meanwhile.  ret may be NULL; its text is then kvmattr_message()'s.
 */
KVMATTR_CHECK_RESULT int kvmattr_do_update(struct kvmattr *connection,
					   const struct kvmattr_update *update,
					   struct kvmattr_answer *ret);

/*
 * Pipelined: queues an update (copied) and returns at once, unless as many are under way as the
 * daemon takes: then it waits for answers.  done is called from kvmattr_dispatch(), from any call
 * on this connection that sends or waits, or from kvmattr_close(), once for each update for which
 * this returned 0, in the order of submission; it must not call this library on the same
 * connection.  An update does not depend on those before it: they may fail and it be in force.
 * When the connection breaks, all that is under way is completed with KVMATTR_NO_VM or the
 * daemon's reason; whether it is in force is not known then.  ret_seqno may be NULL.  Updates are
 * sent when a message is full, with kvmattr_flush(), or with the next call that waits; while the
 * daemon is away they are kept, and are sent by the call that finds it again.
 */
typedef void (*kvmattr_done)(void *context, const struct kvmattr_answer *answer);
KVMATTR_CHECK_RESULT int kvmattr_submit(struct kvmattr *connection,
					const struct kvmattr_update *update, kvmattr_done done,
					void *context, uint64_t *ret_seqno);
KVMATTR_CHECK_RESULT int kvmattr_flush(struct kvmattr *connection);
/* Flushes, and waits until every submitted update is answered. */
KVMATTR_CHECK_RESULT int kvmattr_wait(struct kvmattr *connection);
/*
 * For an event loop: poll the fd for input and call kvmattr_dispatch(), which delivers the
 * completions that are there, and gets on with looking for a daemon that went away, without
 * waiting.  The fd is the same as long as the connection, and of no use but to be polled (it is an
 * epoll descriptor).  -EPIPE: the daemon or the VM is gone for good.
 */
int kvmattr_fd(const struct kvmattr *connection);
KVMATTR_CHECK_RESULT int kvmattr_dispatch(struct kvmattr *connection);
/* Updates that were submitted and are not answered. */
size_t kvmattr_in_flight(const struct kvmattr *connection);

/*
 * By name, each waited for.  Lists of any length: what is longer than KVMATTR_MAX_PAGES or
 * KVMATTR_MAX_RANGES is done as several updates, one after the other, each waited for before the
 * next is sent, and ends with the first that fails; other agents' updates may come in between.
 * *ret_n_in_force (may be NULL; set in any case): how many, from the first, are known to be in
 * force.  An empty list is done at once.
 */
KVMATTR_CHECK_RESULT int kvmattr_enable_layer(struct kvmattr *connection, unsigned int layer,
					      unsigned int default_protection, int mbec);
KVMATTR_CHECK_RESULT int kvmattr_reset_layer(struct kvmattr *connection, unsigned int layer);
KVMATTR_CHECK_RESULT int kvmattr_reset_vm(struct kvmattr *owner);
KVMATTR_CHECK_RESULT int kvmattr_protect(struct kvmattr *connection, unsigned int layer,
					 unsigned int restricted, unsigned int protection,
					 const uint64_t *gfns, size_t n, size_t *ret_n_in_force);
KVMATTR_CHECK_RESULT int kvmattr_protect_ranges(struct kvmattr *connection, unsigned int layer,
						unsigned int restricted, unsigned int protection,
						const struct kvmattr_range *ranges, size_t n,
						size_t *ret_n_in_force);
KVMATTR_CHECK_RESULT int kvmattr_set_visibility(struct kvmattr *connection, int is_private,
						const struct kvmattr_range *ranges, size_t n,
						size_t *ret_n_in_force);
/*
 * A locked page stays as it is, for overlay pages: whatever would change it, a layer's default or
 * reset included, is KVMATTR_OPERATION_DENIED, until it is unlocked as often, or the VM is reset.
 */
KVMATTR_CHECK_RESULT int kvmattr_lock(struct kvmattr *owner, const struct kvmattr_range *ranges,
				      size_t n, size_t *ret_n_in_force);
KVMATTR_CHECK_RESULT int kvmattr_unlock(struct kvmattr *owner, const struct kvmattr_range *ranges,
					size_t n, size_t *ret_n_in_force);
KVMATTR_CHECK_RESULT int kvmattr_add_ram(struct kvmattr *owner, const struct kvmattr_range *ranges,
					 size_t n, int is_private, size_t *ret_n_in_force);
/* Remove the memory from the guest first: KVM is told its default for these pages. */
KVMATTR_CHECK_RESULT int kvmattr_remove_ram(struct kvmattr *owner,
					    const struct kvmattr_range *ranges, size_t n,
					    size_t *ret_n_in_force);

/* ---- Owner and agent: questions ------------------------------------------------------------ */

enum kvmattr_page_state {
	KVMATTR_IN_FORCE = 0, /* KVM enforces these attributes */
	KVMATTR_PENDING = 1,  /* accepted; on its way */
	KVMATTR_UNKNOWN = 2,  /* what KVM holds is not known; the VM is degraded */
};

struct kvmattr_run {
	struct kvmattr_range range;
	uint8_t attributes; /* effective: a protection and KVMATTR_PRIVATE */
	enum kvmattr_page_state state;
};

/*
 * The effective attributes of view vtl in a range, as runs in the order of GFNs; pages that are
 * not RAM are left out.  Fills at most n_runs, and says in *ret_next_gfn where to go on: the end
 * of the range when all was told.  Several calls do not make one snapshot.
 */
KVMATTR_CHECK_RESULT int kvmattr_query(struct kvmattr *connection, unsigned int vtl,
				       struct kvmattr_range range, struct kvmattr_run *runs,
				       size_t n_runs, size_t *ret_n_runs, uint64_t *ret_next_gfn);

struct kvmattr_explanation {
	int allowed;        /* no layer denies it: if the guest was stopped, let it try again */
	uint8_t layer;      /* the highest VTL that denies it: deliver the intercept there */
	uint16_t denying;   /* set of all that deny it */
	uint8_t attributes; /* effective */
	enum kvmattr_page_state state;
};

/* Who denies VTL vtl this access (KVMATTR_READ, _WRITE, _EXECUTE bits) to a page, for a fault. */
KVMATTR_CHECK_RESULT int kvmattr_explain(struct kvmattr *connection, unsigned int vtl, uint64_t gfn,
					 unsigned int access, struct kvmattr_explanation *ret);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
