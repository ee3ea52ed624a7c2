# SPDX-License-Identifier: GPL-2.0-or-later
# The real daemon, real sockets, real processes; what is tested is found by these variables.
AM_TESTS_ENVIRONMENT += \
	KVMATTRD=$${KVMATTRD-$(abs_top_builddir)/daemon/kvmattrd}; export KVMATTRD; \
	KVMATTR_SIMVM=$${KVMATTR_SIMVM-$(abs_top_builddir)/client/kvmattr-simvm}; \
	export KVMATTR_SIMVM; \
	KVMATTRCTL=$${KVMATTRCTL-$(abs_top_builddir)/client/kvmattrctl}; export KVMATTRCTL;

integration_tests += \
	tests/integration/test-agents \
	tests/integration/test-command-line \
	tests/integration/test-control \
	tests/integration/test-control-socket \
	tests/integration/test-faults \
	tests/integration/test-hostile-executor \
	tests/integration/test-hostile-messages \
	tests/integration/test-hostile-peers \
	tests/integration/test-hostile-registration \
	tests/integration/test-hostile-requests \
	tests/integration/test-kvmattrctl \
	tests/integration/test-main-path \
	tests/integration/test-siege-review \
	tests/integration/test-updates \
	tests/integration/test-vmm-death

# What the programs share.
if HAVE_CHECK
check_LTLIBRARIES += tests/integration/libharness.la
endif
tests_integration_libharness_la_SOURCES = \
	tests/integration/control-client.c tests/integration/control-client.h \
	tests/integration/harness.c tests/integration/harness.h \
	tests/integration/program.c tests/integration/program.h \
	tests/integration/raw-peer.c tests/integration/raw-peer.h \
	tests/integration/siege.c tests/integration/siege.h \
	tests/integration/simulated-vmm.c tests/integration/simulated-vmm.h \
	tests/integration/vmm-process.c tests/integration/vmm-process.h
tests_integration_libharness_la_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS) $(JSON_C_CFLAGS)
tests_integration_libharness_la_LIBADD = client/libsimvm.la client/libkvmattr.la \
	protocol/libprotocol.la $(CHECK_LIBS) $(JSON_C_LIBS)

tests_integration_test_agents_SOURCES = tests/integration/test-agents.c
tests_integration_test_agents_CPPFLAGS = $(tests_integration_libharness_la_CPPFLAGS)
tests_integration_test_agents_LDADD = tests/integration/libharness.la

tests_integration_test_command_line_SOURCES = tests/integration/test-command-line.c
tests_integration_test_command_line_CPPFLAGS = $(tests_integration_libharness_la_CPPFLAGS)
tests_integration_test_command_line_LDADD = tests/integration/libharness.la

tests_integration_test_control_SOURCES = tests/integration/test-control.c
tests_integration_test_control_CPPFLAGS = $(tests_integration_libharness_la_CPPFLAGS)
tests_integration_test_control_LDADD = tests/integration/libharness.la

tests_integration_test_control_socket_SOURCES = tests/integration/test-control-socket.c
tests_integration_test_control_socket_CPPFLAGS = $(tests_integration_libharness_la_CPPFLAGS)
tests_integration_test_control_socket_LDADD = tests/integration/libharness.la

tests_integration_test_faults_SOURCES = tests/integration/test-faults.c
tests_integration_test_faults_CPPFLAGS = $(tests_integration_libharness_la_CPPFLAGS)
tests_integration_test_faults_LDADD = tests/integration/libharness.la

tests_integration_test_hostile_executor_SOURCES = tests/integration/test-hostile-executor.c
tests_integration_test_hostile_executor_CPPFLAGS = $(tests_integration_libharness_la_CPPFLAGS)
tests_integration_test_hostile_executor_LDADD = tests/integration/libharness.la

tests_integration_test_hostile_messages_SOURCES = tests/integration/test-hostile-messages.c
tests_integration_test_hostile_messages_CPPFLAGS = $(tests_integration_libharness_la_CPPFLAGS)
tests_integration_test_hostile_messages_LDADD = tests/integration/libharness.la

tests_integration_test_hostile_peers_SOURCES = tests/integration/test-hostile-peers.c
tests_integration_test_hostile_peers_CPPFLAGS = $(tests_integration_libharness_la_CPPFLAGS)
tests_integration_test_hostile_peers_LDADD = tests/integration/libharness.la

tests_integration_test_siege_review_SOURCES = tests/integration/test-siege-review.c
tests_integration_test_siege_review_CPPFLAGS = $(tests_integration_libharness_la_CPPFLAGS)
tests_integration_test_siege_review_LDADD = tests/integration/libharness.la

tests_integration_test_hostile_registration_SOURCES = tests/integration/test-hostile-registration.c
tests_integration_test_hostile_registration_CPPFLAGS = $(tests_integration_libharness_la_CPPFLAGS)
tests_integration_test_hostile_registration_LDADD = tests/integration/libharness.la

tests_integration_test_hostile_requests_SOURCES = tests/integration/test-hostile-requests.c
tests_integration_test_hostile_requests_CPPFLAGS = $(tests_integration_libharness_la_CPPFLAGS)
tests_integration_test_hostile_requests_LDADD = tests/integration/libharness.la

tests_integration_test_kvmattrctl_SOURCES = tests/integration/test-kvmattrctl.c
tests_integration_test_kvmattrctl_CPPFLAGS = $(tests_integration_libharness_la_CPPFLAGS)
tests_integration_test_kvmattrctl_LDADD = tests/integration/libharness.la

tests_integration_test_main_path_SOURCES = tests/integration/test-main-path.c
tests_integration_test_main_path_CPPFLAGS = $(tests_integration_libharness_la_CPPFLAGS)
tests_integration_test_main_path_LDADD = tests/integration/libharness.la

tests_integration_test_updates_SOURCES = tests/integration/test-updates.c
tests_integration_test_updates_CPPFLAGS = $(tests_integration_libharness_la_CPPFLAGS)
tests_integration_test_updates_LDADD = tests/integration/libharness.la

tests_integration_test_vmm_death_SOURCES = tests/integration/test-vmm-death.c
tests_integration_test_vmm_death_CPPFLAGS = $(tests_integration_libharness_la_CPPFLAGS)
tests_integration_test_vmm_death_LDADD = tests/integration/libharness.la
