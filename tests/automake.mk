# SPDX-License-Identifier: GPL-2.0-or-later
# Every test prints TAP, and so is counted one by one.
TEST_EXTENSIONS = .sh
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
SH_LOG_DRIVER = $(LOG_DRIVER)
AM_TESTS_ENVIRONMENT = CK_DEFAULT_TIMEOUT=$${CK_DEFAULT_TIMEOUT-60}; export CK_DEFAULT_TIMEOUT;

# Every test is one source of its name, which says what it tests; a test's name is the sentence that
# it proves.  It is linked with what may know most first, and takes of that what it needs.
AM_DEFAULT_SOURCE_EXT = .c
LDADD = tests/unit/libunit.la tests/integration/libharness.la daemon/libserve.la \
	daemon/libjournal.la client/libsimvm.la client/libkvmattr.la protocol/libprotocol.la \
	$(CHECK_LIBS) $(JSON_C_LIBS) -lpthread

unit_tests =
integration_tests =

include tests/unit/automake.mk
include tests/integration/automake.mk
include tests/clients/automake.mk
include tests/kernel/automake.mk
include tests/bench/automake.mk
include tests/crash/automake.mk
include tests/systemd/automake.mk

if HAVE_CHECK
check_PROGRAMS += $(unit_tests) $(integration_tests)
TESTS += $(unit_tests) $(integration_tests)
endif

# ---- The same tests under other eyes ----------------------------------------------------------
# Under valgrind, all unit tests but those that only do the same for longer, with random input; and some
# integration tests that go through most of the daemon.  The sanitizers see all of them.
valgrind_leaves_out = \
	tests/unit/test-policy-oracle \
	tests/unit/test-replay \
	tests/unit/test-verify-damage \
	tests/unit/test-vm-simulation
VALGRIND_COMMAND = $(VALGRIND) --quiet --leak-check=full --errors-for-leak-kinds=definite \
	--error-exitcode=99 --suppressions=$(abs_top_srcdir)/tests/valgrind.supp
check-valgrind: all
	CK_DEFAULT_TIMEOUT=600 $(MAKE) check \
		TESTS='$(filter-out $(valgrind_leaves_out),$(unit_tests))' \
		TEST_SUITE_LOG=valgrind-unit.log \
		LOG_COMPILER='$(LIBTOOL) --mode=execute $(VALGRIND_COMMAND)'
	CK_DEFAULT_TIMEOUT=600 KVMATTR_TEST_WRAPPER='$(VALGRIND_COMMAND)' \
		$(MAKE) check TESTS='$(valgrind_integration_tests)' \
		TEST_SUITE_LOG=valgrind-integration.log
# A build of its own, in sanitizers/.
check-sanitizers:
	$(MKDIR_P) sanitizers
	test -f sanitizers/Makefile || (cd sanitizers && \
		$(abs_top_srcdir)/configure --quiet --enable-sanitizers --enable-werror CC='$(CC)')
	UBSAN_OPTIONS=print_stacktrace=1 CK_DEFAULT_TIMEOUT=300 $(MAKE) -C sanitizers check
.PHONY: check-valgrind check-sanitizers

clean-local:
	rm -rf sanitizers
EXTRA_DIST += tests/valgrind.supp
