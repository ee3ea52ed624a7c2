# SPDX-License-Identifier: GPL-2.0-or-later
# Made by make, where sbindir has its final value.
systemdsystemunit_DATA = systemd/kvmattrd.service
systemd/kvmattrd.service: systemd/kvmattrd.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) systemd && $(SED) -e 's|@sbindir[@]|$(sbindir)|' \
		$(top_srcdir)/systemd/kvmattrd.service.in >$@.new && mv $@.new $@
CLEANFILES += systemd/kvmattrd.service
EXTRA_DIST += systemd/kvmattrd.service.in
