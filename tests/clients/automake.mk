# SPDX-License-Identifier: GPL-2.0-or-later
# The control socket from outside, in other languages: clients that others have written, and what
# rpc.discover publishes held against what the daemon does.  Each has a daemon of its own.
TEST_EXTENSIONS += .mjs .py
MJS_LOG_DRIVER = $(LOG_DRIVER)
MJS_LOG_COMPILER = $(SHELL) $(top_srcdir)/tests/clients/with-guest.sh
PY_LOG_DRIVER = $(LOG_DRIVER)
PY_LOG_COMPILER = $(SHELL) $(top_srcdir)/tests/clients/with-guest.sh

client_tests = \
	tests/clients/aiorpcx-client.py \
	tests/clients/answers.py \
	tests/clients/json-rpc-client.mjs \
	tests/clients/openrpc-document.mjs \
	tests/clients/parameters.py
TESTS += $(client_tests)
EXTRA_DIST += $(client_tests) \
	tests/clients/connection.mjs \
	tests/clients/control.py \
	tests/clients/package-lock.json \
	tests/clients/package.json \
	tests/clients/published.py \
	tests/clients/with-guest.sh

# npm's packages, which with-guest.sh has installed.
clean-clients:
	rm -rf tests/clients/npm tests/clients/npm.lock tests/clients/npm.log
clean-local: clean-clients
.PHONY: clean-clients
