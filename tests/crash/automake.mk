# SPDX-License-Identifier: GPL-2.0-or-later
# The daemon killed at every system call by which it leaves something behind, and started again.
if HAVE_CHECK
check_PROGRAMS += tests/crash/check-crash
endif
tests_crash_check_crash_SOURCES = \
	tests/crash/check-crash.c \
	tests/crash/guest.c tests/crash/guest.h \
	tests/crash/tracer.c tests/crash/tracer.h
check-crash: all
	@$(MAKE) -s check TESTS= >/dev/null
	@tests/crash/check-crash
.PHONY: check-crash
