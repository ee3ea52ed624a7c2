# SPDX-License-Identifier: GPL-2.0-or-later
# kvmattrd, in layers: policy (pure), the VM's state machine, and what serves them.
noinst_LTLIBRARIES += daemon/libpolicy.la daemon/libserve.la

daemon_libpolicy_la_SOURCES = \
	daemon/allocate.c daemon/allocate.h \
	daemon/latency.c daemon/latency.h \
	daemon/policy/attribute-map.c daemon/policy/attribute-map.h \
	daemon/policy/dialect.c daemon/policy/dialect.h \
	daemon/policy/elements.c daemon/policy/elements.h \
	daemon/policy/fold.c daemon/policy/fold.h \
	daemon/policy/image-map.c daemon/policy/image-map.h \
	daemon/policy/image.c daemon/policy/image.h \
	daemon/policy/image-updates.c daemon/policy/image-updates.h \
	daemon/policy/leaf-chunks.c daemon/policy/leaf-chunks.h \
	daemon/policy/page-ranges.c daemon/policy/page-ranges.h \
	daemon/policy/plan.c daemon/policy/plan.h \
	daemon/policy/layer-requests.c \
	daemon/policy/page-requests.c \
	daemon/policy/policy.c daemon/policy/policy.h \
	daemon/policy/request.c daemon/policy/request.h \
	daemon/policy/undo-log.c daemon/policy/undo-log.h \
	daemon/vm-answer.c \
	daemon/vm-batch.c daemon/vm-inspect.c daemon/vm-private.h \
	daemon/vm-memory.c daemon/vm-plan.c \
	daemon/vm-verify.c \
	daemon/vm.c daemon/vm.h
# The fold and the plan are loops over bytes that are worth vectorizing.
daemon_libpolicy_la_CFLAGS = $(AM_CFLAGS) $(VECTORIZE)
daemon_libpolicy_la_LIBADD = protocol/libprotocol.la

# The journal, for the daemon and for kvmattrctl, which reads it without one.  It needs
# daemon/allocate.c: whoever links it links daemon/libpolicy.la behind it.
noinst_LTLIBRARIES += daemon/libjournal.la
daemon_libjournal_la_SOURCES = \
	daemon/journal/base64.c daemon/journal/base64.h \
	daemon/journal/blame.c daemon/journal/blame.h \
	daemon/journal/catalogue.c daemon/journal/catalogue.h \
	daemon/journal/checkpoint-body.c daemon/journal/checkpoint-body.h \
	daemon/journal/checkpoint.c daemon/journal/checkpoint.h \
	daemon/journal/directory.c daemon/journal/directory.h \
	daemon/journal/export.c daemon/journal/export.h \
	daemon/journal/history-text.c daemon/journal/history-text.h \
	daemon/journal/history.c daemon/journal/history.h \
	daemon/journal/io.c daemon/journal/io.h \
	daemon/journal/journal.h \
	daemon/journal/past.c daemon/journal/past.h \
	daemon/journal/reader.c daemon/journal/reader.h \
	daemon/journal/record.c daemon/journal/record.h \
	daemon/journal/replay-compare.c daemon/journal/replay-compare.h \
	daemon/journal/replay-journal.c \
	daemon/journal/replay-sessions.c daemon/journal/replay-sessions.h \
	daemon/journal/replay.c daemon/journal/replay.h \
	daemon/journal/verify.c daemon/journal/verify.h \
	daemon/journal/vm-records.c daemon/journal/vm-records.h \
	daemon/journal/writer.c daemon/journal/writer-private.h daemon/journal/writer-reopen.c
daemon_libjournal_la_CPPFLAGS = $(AM_CPPFLAGS) $(ISAL_CFLAGS)
daemon_libjournal_la_LIBADD = $(ISAL_LIBS) -lpthread

daemon_libserve_la_SOURCES = \
	daemon/journald.c daemon/journald.h \
	daemon/log.c daemon/log.h daemon/log-ids.h \
	daemon/serve/archivist.c daemon/serve/archivist.h \
	daemon/serve/authority.c daemon/serve/authority.h \
	daemon/serve/control.c daemon/serve/control.h \
	daemon/serve/daemon.c daemon/serve/daemon.h \
	daemon/serve/events.c daemon/serve/events.h \
	daemon/serve/executor-link.c daemon/serve/executor-link.h \
	daemon/serve/exposition.c daemon/serve/exposition.h \
	daemon/serve/fd-store.c daemon/serve/fd-store.h \
	daemon/serve/hosted-vm-executor.c daemon/serve/hosted-vm-private.h \
	daemon/serve/hosted-vm.c daemon/serve/hosted-vm.h \
	daemon/serve/import.c daemon/serve/import.h \
	daemon/serve/journal-notes.c daemon/serve/journal-notes.h \
	daemon/serve/journal-syncer.c daemon/serve/journal-syncer.h \
	daemon/serve/json-put.c daemon/serve/json-put.h \
	daemon/serve/json-text.c daemon/serve/json-text.h \
	daemon/serve/jsonrpc.c daemon/serve/jsonrpc.h \
	daemon/serve/kvm-stats.c daemon/serve/kvm-stats.h \
	daemon/serve/listener.c daemon/serve/listener.h \
	daemon/serve/map-walk.c daemon/serve/map-walk.h \
	daemon/serve/memory.c daemon/serve/memory.h \
	daemon/serve/method-arguments.c \
	daemon/serve/method-words.c daemon/serve/method-words.h \
	daemon/serve/method.c daemon/serve/method.h \
	daemon/serve/methods-daemon.c \
	daemon/serve/methods-event.c \
	daemon/serve/methods-export.c \
	daemon/serve/methods-journal.c \
	daemon/serve/methods-kvm.c \
	daemon/serve/methods-log.c \
	daemon/serve/methods-map.c \
	daemon/serve/methods-operate.c \
	daemon/serve/methods-metrics.c \
	daemon/serve/methods-past.c \
	daemon/serve/methods-rpc.c \
	daemon/serve/methods-stats.c \
	daemon/serve/methods-vm.c \
	daemon/serve/methods.c daemon/serve/methods.h \
	daemon/serve/metrics.c daemon/serve/metrics.h \
	daemon/serve/openrpc.c daemon/serve/openrpc.h \
	daemon/serve/operation.c daemon/serve/operation.h \
	daemon/serve/question.c daemon/serve/question.h \
	daemon/serve/ram.c daemon/serve/ram.h \
	daemon/serve/recovery.c daemon/serve/recovery.h \
	daemon/serve/refusals.c daemon/serve/refusals.h \
	daemon/serve/registration.c daemon/serve/registration.h \
	daemon/serve/service-manager.c daemon/serve/service-manager.h \
	daemon/serve/session-answers.c \
	daemon/serve/session-receive.c \
	daemon/serve/session-requests.c \
	daemon/serve/session-resume.c daemon/serve/session-resume.h \
	daemon/serve/session-told.c daemon/serve/session-told.h \
	daemon/serve/session.c daemon/serve/session.h \
	daemon/serve/thread.c \
	daemon/serve/thread.h \
	daemon/serve/turns.c \
	daemon/serve/turns.h \
	daemon/serve/users.c daemon/serve/users.h \
	daemon/serve/view-fds.c daemon/serve/view-fds.h \
	daemon/serve/vm-events.c daemon/serve/vm-events.h \
	daemon/serve/vm-fd.c daemon/serve/vm-fd.h \
	daemon/serve/vm-journal-checkpoints.c \
	daemon/serve/vm-journal-private.h \
	daemon/serve/vm-journal-records.c \
	daemon/serve/vm-journal.c daemon/serve/vm-journal.h \
	daemon/serve/vm-journals.c daemon/serve/vm-journals.h \
	daemon/serve/vm-shape.c daemon/serve/vm-shape.h \
	daemon/serve/vm-snapshot.c daemon/serve/vm-snapshot.h
daemon_libserve_la_CPPFLAGS = $(AM_CPPFLAGS) $(LIBEVENT_CFLAGS) $(JSON_C_CFLAGS) $(SYSTEMD_CFLAGS)
daemon_libserve_la_LIBADD = daemon/libjournal.la daemon/libpolicy.la $(LIBEVENT_LIBS) $(JSON_C_LIBS) $(SYSTEMD_LIBS) \
	-lpthread

# A room of its own, so that a test can enter it.
noinst_LTLIBRARIES += daemon/libsandbox.la
daemon_libsandbox_la_SOURCES = daemon/sandbox.c daemon/sandbox.h
daemon_libsandbox_la_CPPFLAGS = $(AM_CPPFLAGS) $(SECCOMP_CFLAGS)
daemon_libsandbox_la_LIBADD = $(SECCOMP_LIBS)

sbin_PROGRAMS += daemon/kvmattrd
daemon_kvmattrd_SOURCES = \
	daemon/configuration.c daemon/configuration.h \
	daemon/directories.c daemon/directories.h \
	daemon/kvmattrd.c
daemon_kvmattrd_CPPFLAGS = $(AM_CPPFLAGS) $(LIBEVENT_CFLAGS) $(SYSTEMD_CFLAGS) $(INIH_CFLAGS)
daemon_kvmattrd_LDADD = daemon/libsandbox.la daemon/libserve.la $(LIBEVENT_LIBS) $(SYSTEMD_LIBS) $(INIH_LIBS)
