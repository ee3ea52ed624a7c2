# SPDX-License-Identifier: GPL-2.0-or-later
# Every test prints TAP, and so is counted one by one.
TEST_EXTENSIONS = .sh
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
SH_LOG_DRIVER = $(LOG_DRIVER)
AM_TESTS_ENVIRONMENT = CK_DEFAULT_TIMEOUT=$${CK_DEFAULT_TIMEOUT-60}; export CK_DEFAULT_TIMEOUT;

unit_tests =
integration_tests =

include tests/unit/automake.mk
include tests/integration/automake.mk
include tests/kernel/automake.mk

if HAVE_CHECK
check_PROGRAMS += $(unit_tests) $(integration_tests)
TESTS += $(unit_tests) $(integration_tests)
endif
