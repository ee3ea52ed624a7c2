# SPDX-License-Identifier: GPL-2.0-or-later
# The daemon under a real systemd, in QEMU on a kernel that has the attributes.
EXTRA_PROGRAMS += tests/systemd/load
tests_systemd_load_SOURCES = \
	tests/systemd/load.c \
	tests/systemd/load-agents.c tests/systemd/load-agents.h \
	client/examples/vsm-guest.c client/examples/vsm-guest.h
tests_systemd_load_LDADD = client/libkvmattr.la protocol/libprotocol.la -lpthread

check-systemd: all tests/systemd/load
	@bash $(top_srcdir)/tests/systemd/check-systemd.sh \
		$(if $(TEST_KERNEL),--kernel '$(TEST_KERNEL)') $(abs_builddir)
.PHONY: check-systemd
CLEANFILES += tests/systemd/load
EXTRA_DIST += \
	tests/systemd/check-systemd.sh \
	tests/systemd/guest-authority.sh \
	tests/systemd/guest-disturbances.sh \
	tests/systemd/guest-init.sh \
	tests/systemd/guest-tap.sh \
	tests/systemd/guest-tenants.sh
