# SPDX-License-Identifier: GPL-2.0-or-later
# The real daemon, real sockets, real processes; what is tested is found by these variables.
AM_TESTS_ENVIRONMENT += \
	KVMATTRD=$${KVMATTRD-$(abs_top_builddir)/daemon/kvmattrd}; export KVMATTRD; \
	KVMATTR_SIMVM=$${KVMATTR_SIMVM-$(abs_top_builddir)/client/kvmattr-simvm}; \
	export KVMATTR_SIMVM; \
	KVMATTRCTL=$${KVMATTRCTL-$(abs_top_builddir)/client/kvmattrctl}; export KVMATTRCTL; \
	KVMATTR_COMPLETION=$(abs_top_srcdir)/client/completion; export KVMATTR_COMPLETION;

integration_tests += \
	tests/integration/test-agents \
	tests/integration/test-authority \
	tests/integration/test-authority-running \
	tests/integration/test-authority-settings \
	tests/integration/test-command-line \
	tests/integration/test-control \
	tests/integration/test-control-socket \
	tests/integration/test-event-summaries \
	tests/integration/test-events \
	tests/integration/test-export-import \
	tests/integration/test-faults \
	tests/integration/test-fd-store-restart \
	tests/integration/test-hostile-costs \
	tests/integration/test-hostile-executor \
	tests/integration/test-hostile-json \
	tests/integration/test-hostile-messages \
	tests/integration/test-hostile-peers \
	tests/integration/test-hostile-registration \
	tests/integration/test-hostile-requests \
	tests/integration/test-import-refusals \
	tests/integration/test-journal-methods \
	tests/integration/test-journal-questions \
	tests/integration/test-journald \
	tests/integration/test-jsonrpc-spec \
	tests/integration/test-kvm-stats \
	tests/integration/test-kvmattrctl \
	tests/integration/test-kvmattrctl-completion \
	tests/integration/test-kvmattrctl-events \
	tests/integration/test-kvmattrctl-journal \
	tests/integration/test-kvmattrctl-operate \
	tests/integration/test-kvmattrctl-picture \
	tests/integration/test-kvmattrctl-watch \
	tests/integration/test-layers \
	tests/integration/test-main-path \
	tests/integration/test-memory \
	tests/integration/test-metrics \
	tests/integration/test-metrics-promtool \
	tests/integration/test-operate \
	tests/integration/test-operate-updates \
	tests/integration/test-power \
	tests/integration/test-reconnect \
	tests/integration/test-quotas \
	tests/integration/test-recovery \
	tests/integration/test-recovery-files \
	tests/integration/test-resume \
	tests/integration/test-resume-owner \
	tests/integration/test-sandbox \
	tests/integration/test-service \
	tests/integration/test-slow-subscribers \
	tests/integration/test-sockets \
	tests/integration/test-stats \
	tests/integration/test-updates \
	tests/integration/test-vmm-death

# Not test-recovery: valgrind 3.19 has no pidfd_open(), by which a dead owner is told.
valgrind_integration_tests = \
	tests/integration/test-authority \
	tests/integration/test-control \
	tests/integration/test-events \
	tests/integration/test-export-import \
	tests/integration/test-hostile-messages \
	tests/integration/test-journal-methods \
	tests/integration/test-main-path \
	tests/integration/test-metrics \
	tests/integration/test-operate \
	tests/integration/test-resume \
	tests/integration/test-updates

# What the programs share.
if HAVE_CHECK
check_LTLIBRARIES += tests/integration/libharness.la
endif
tests_integration_libharness_la_SOURCES = \
	tests/integration/control-client.c tests/integration/control-client.h \
	tests/integration/ctl-guest.c tests/integration/ctl-guest.h \
	tests/integration/ctl-program.c tests/integration/ctl-program.h \
	tests/integration/event-client.c tests/integration/event-client.h \
	tests/integration/fake-manager.c tests/integration/fake-manager.h \
	tests/integration/harness.c tests/integration/harness.h \
	tests/integration/known-guest.c tests/integration/known-guest.h \
	tests/integration/limited-users.c tests/integration/limited-users.h \
	tests/integration/lone-agent.c tests/integration/lone-agent.h \
	tests/integration/migration.c tests/integration/migration.h \
	tests/integration/other-users.c tests/integration/other-users.h \
	tests/integration/program.c tests/integration/program.h \
	tests/integration/raw-peer.c tests/integration/raw-peer.h \
	tests/integration/restarts.c tests/integration/restarts.h \
	tests/integration/scrape.c tests/integration/scrape.h \
	tests/integration/siege.c tests/integration/siege.h \
	tests/integration/simulated-vmm.c tests/integration/simulated-vmm.h \
	tests/integration/terminal-program.c tests/integration/terminal-program.h \
	tests/integration/vmm-process.c tests/integration/vmm-process.h
tests_integration_libharness_la_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS) $(JSON_C_CFLAGS)
tests_integration_libharness_la_LIBADD = client/libsimvm.la client/libkvmattr.la \
	protocol/libprotocol.la $(CHECK_LIBS) $(JSON_C_LIBS)

tests_integration_test_power_SOURCES = tests/integration/test-power.c \
	tests/integration/faulty-disk.c tests/integration/faulty-disk.h
tests_integration_test_power_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS) $(JSON_C_CFLAGS) \
	$(SECCOMP_CFLAGS)
tests_integration_test_power_LDADD = $(LDADD) $(SECCOMP_LIBS)
tests_integration_test_sandbox_LDADD = daemon/libsandbox.la $(LDADD)
