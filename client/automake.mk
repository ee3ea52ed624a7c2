# SPDX-License-Identifier: GPL-2.0-or-later
# What links the protocol from the other end: the library, and the programs made with it.

# ---- libkvmattr ------------------------------------------------------------------------------
lib_LTLIBRARIES += client/libkvmattr.la
client_libkvmattr_la_SOURCES = \
	client/connection.c client/connection.h \
	client/named-updates.c \
	client/owner.c \
	client/questions.c \
	client/updates.c
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

# ---- kvmattr-simvm ---------------------------------------------------------------------------

# ---- examples --------------------------------------------------------------------------------
