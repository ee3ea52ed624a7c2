# SPDX-License-Identifier: GPL-2.0-or-later
# Units are made by make, where sbindir has its final value: each one for the host, and as a
# template for tenants, who have users, directories and sockets of their own.
unit_sources = \
	systemd/kvmattrd.service.in \
	systemd/kvmattrd-agent.socket.in \
	systemd/kvmattrd-control.socket.in
host_units = \
	systemd/kvmattrd.service \
	systemd/kvmattrd-agent.socket \
	systemd/kvmattrd-control.socket
tenant_units = \
	systemd/kvmattrd@.service \
	systemd/kvmattrd-agent@.socket \
	systemd/kvmattrd-control@.socket
systemdsystemunit_DATA = $(host_units) $(tenant_units)

make_unit = $(MKDIR_P) systemd && $(SED) -e 's|@sbindir[@]|$(sbindir)|'
for_host = -e 's|@of[@]||; s|@at[@]||g; s|@dash[@]||; s|@options[@]||'
for_tenant = -e 's|@of[@]| (%i)|; s|@at[@]|@%i|g; s|@dash[@]|-%i|' \
	-e 's|@options[@]| --runtime-dir %t/kvmattrd-%i --state-dir %S/kvmattrd-%i|'

$(host_units): systemd/%: $(top_srcdir)/systemd/%.in Makefile
	$(AM_V_GEN)$(make_unit) $(for_host) $< >$@.new && mv $@.new $@
systemd/kvmattrd@.service: systemd/%@.service: $(top_srcdir)/systemd/%.service.in Makefile
	$(AM_V_GEN)$(make_unit) $(for_tenant) $< >$@.new && mv $@.new $@
systemd/kvmattrd-agent@.socket systemd/kvmattrd-control@.socket: \
		systemd/%@.socket: $(top_srcdir)/systemd/%.socket.in Makefile
	$(AM_V_GEN)$(make_unit) $(for_tenant) $< >$@.new && mv $@.new $@

sysusersdir = $(prefix)/lib/sysusers.d
presetdir = $(prefix)/lib/systemd/system-preset
catalogdir = $(prefix)/lib/systemd/catalog
dist_catalog_DATA = systemd/kvmattrd.catalog
dist_sysusers_DATA = systemd/kvmattrd.conf
dist_preset_DATA = systemd/90-kvmattrd.preset

CLEANFILES += $(host_units) $(tenant_units)
EXTRA_DIST += $(unit_sources)
