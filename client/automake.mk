# SPDX-License-Identifier: GPL-2.0-or-later
# What links the protocol from the other end: the library, and the programs made with it.

# ---- libkvmattr ------------------------------------------------------------------------------
lib_LTLIBRARIES += client/libkvmattr.la
client_libkvmattr_la_SOURCES = \
	client/connection.c client/connection.h \
	client/exchange.c \
	client/named-updates.c \
	client/outbox.c client/outbox.h \
	client/owner.c \
	client/questions.c \
	client/resume.c \
	client/updates.c \
	client/vmm-executor.c
client_libkvmattr_la_LIBADD = protocol/libprotocol.la -lpthread
client_libkvmattr_la_LDFLAGS = $(AM_LDFLAGS) -no-undefined \
	-version-info $(LIBKVMATTR_VERSION) \
	-Wl,--version-script=$(top_srcdir)/client/libkvmattr.map
EXTRA_client_libkvmattr_la_DEPENDENCIES = client/libkvmattr.map
include_HEADERS += client/kvmattr.h

# Made by make, where prefix and libdir have their final values.
pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA = client/libkvmattr.pc
client/libkvmattr.pc: client/libkvmattr.pc.in Makefile
	$(AM_V_GEN)$(MKDIR_P) client && $(SED) \
		-e 's|@prefix[@]|$(prefix)|' -e 's|@exec_prefix[@]|$(exec_prefix)|' \
		-e 's|@libdir[@]|$(libdir)|' -e 's|@includedir[@]|$(includedir)|' \
		-e 's|@VERSION[@]|$(VERSION)|' \
		$(top_srcdir)/client/libkvmattr.pc.in >$@.new && mv $@.new $@
CLEANFILES += client/libkvmattr.pc
EXTRA_DIST += client/libkvmattr.map client/libkvmattr.pc.in

# ---- kvmattrctl ------------------------------------------------------------------------------
bin_PROGRAMS += client/kvmattrctl
client_kvmattrctl_SOURCES = \
	client/kvmattrctl-blame.c \
	client/kvmattrctl-cells.c \
	client/kvmattrctl-cells.h \
	client/kvmattrctl-command.h \
	client/kvmattrctl-commands.c \
	client/kvmattrctl-complete.c \
	client/kvmattrctl-daemon.c \
	client/kvmattrctl-event-text.c \
	client/kvmattrctl-event-text.h \
	client/kvmattrctl-events.c \
	client/kvmattrctl-export.c \
	client/kvmattrctl-file.c \
	client/kvmattrctl-file.h \
	client/kvmattrctl-journal.c \
	client/kvmattrctl-journal.h \
	client/kvmattrctl-map.c \
	client/kvmattrctl-operate.c \
	client/kvmattrctl-operate.h \
	client/kvmattrctl-options.c \
	client/kvmattrctl-options.h \
	client/kvmattrctl-page.c \
	client/kvmattrctl-page.h \
	client/kvmattrctl-picture-svg.c \
	client/kvmattrctl-picture.c \
	client/kvmattrctl-picture.h \
	client/kvmattrctl-rpc.c \
	client/kvmattrctl-rpc.h \
	client/kvmattrctl-runs.c \
	client/kvmattrctl-runs.h \
	client/kvmattrctl-sample.c \
	client/kvmattrctl-sample.h \
	client/kvmattrctl-screen.c \
	client/kvmattrctl-screen.h \
	client/kvmattrctl-stats.c \
	client/kvmattrctl-summary.c \
	client/kvmattrctl-terminal.c \
	client/kvmattrctl-terminal.h \
	client/kvmattrctl-update.c \
	client/kvmattrctl-verify.c \
	client/kvmattrctl-vm.c \
	client/kvmattrctl-vm.h \
	client/kvmattrctl-watch-screen.c \
	client/kvmattrctl-watch.c \
	client/kvmattrctl-watch.h \
	client/kvmattrctl-writer-json.c \
	client/kvmattrctl-writer-text.c \
	client/kvmattrctl-writer.c \
	client/kvmattrctl-writer.h \
	client/kvmattrctl.c
client_kvmattrctl_CPPFLAGS = $(AM_CPPFLAGS) $(JSON_C_CFLAGS) $(SMARTCOLS_CFLAGS)
client_kvmattrctl_LDADD = daemon/libjournal.la daemon/libpolicy.la protocol/libprotocol.la \
	$(JSON_C_LIBS) $(SMARTCOLS_LIBS)

# Shells look for these files by the command's name, each shell in its own place.
bashcompletiondir = $(datadir)/bash-completion/completions
zshcompletiondir = $(datadir)/zsh/site-functions
zshcompletion_DATA = client/completion/_kvmattrctl
bashcompletion_DATA = client/completion/kvmattrctl
client/completion/kvmattrctl: client/completion/kvmattrctl.bash
	$(AM_V_GEN)$(MKDIR_P) client/completion && \
		cp $(top_srcdir)/client/completion/kvmattrctl.bash $@
CLEANFILES += client/completion/kvmattrctl
EXTRA_DIST += client/completion/kvmattrctl.bash client/completion/_kvmattrctl

# ---- kvmattr-simvm ---------------------------------------------------------------------------
bin_PROGRAMS += client/kvmattr-simvm
noinst_LTLIBRARIES += client/libsimvm.la
client_libsimvm_la_SOURCES = \
	client/simvm-faults.c client/simvm-faults.h \
	client/simvm-kernel.c client/simvm-kernel.h \
	client/simvm-trace.c client/simvm-trace.h
client_libsimvm_la_LIBADD = client/libkvmattr.la
client_kvmattr_simvm_SOURCES = \
	client/kvmattr-simvm.c \
	client/simvm-agents.c client/simvm-agents.h \
	client/simvm-compare.c client/simvm-compare.h \
	client/simvm-options.c client/simvm-options.h \
	client/simvm-report.c client/simvm-report.h
client_kvmattr_simvm_CPPFLAGS = $(AM_CPPFLAGS) $(JSON_C_CFLAGS) $(SMARTCOLS_CFLAGS)
client_kvmattr_simvm_LDADD = client/libsimvm.la client/libkvmattr.la $(JSON_C_LIBS) \
	$(SMARTCOLS_LIBS) -lpthread

# ---- examples --------------------------------------------------------------------------------
noinst_PROGRAMS += client/examples/vsm-vmm
client_examples_vsm_vmm_SOURCES = \
	client/examples/vsm-agent.c client/examples/vsm-agent.h \
	client/examples/vsm-cases.c client/examples/vsm-cases.h \
	client/examples/vsm-check.c client/examples/vsm-check.h \
	client/examples/vsm-guest.c client/examples/vsm-guest.h \
	client/examples/vsm-model.c client/examples/vsm-model.h \
	client/examples/vsm-statistics.c client/examples/vsm-statistics.h \
	client/examples/vsm-vmm.c client/examples/vsm-vmm.h
client_examples_vsm_vmm_CPPFLAGS = $(AM_CPPFLAGS) $(JSON_C_CFLAGS)
client_examples_vsm_vmm_LDADD = client/libkvmattr.la $(JSON_C_LIBS)
