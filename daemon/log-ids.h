/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lines of the log that operators, and programs that watch for them, look up: each has a
 * message id, by which journalctl finds it whatever its words are by then.
 *
 * An id once given keeps its meaning for ever; a new line gets a new one, from "systemd-id128 new".
 * What each one means, and what is to be done, is in systemd/kvmattrd.catalog.
 */
#ifndef KVMATTRD_LOG_IDS_H
#define KVMATTRD_LOG_IDS_H

/* X(NAME, LEVEL, "message id") */
#define LOG_IDS(X)                                                           \
	/* the daemon */                                                     \
	X(STARTED, INFO, "02f1436b131942859817e7f8cd1bfa99")                 \
	X(STOPPING, INFO, "4a69a24ee5504544b190a3861e3cd031")                \
	X(DIRECTORY_HELD, ERROR, "516a8f0d3bec434ab735a2284d12e856")         \
	X(SETTING_WRONG, ERROR, "a6ee87af1467477b93b015b4a9e825dd")          \
	X(SETTINGS_READ, INFO, "3408d945f68847b2abf23af4f358848e")           \
	X(SETTINGS_REFUSED, ERROR, "44a9435ac2c3491b918591107ab9b70a")       \
	X(NOT_CONFINED, WARNING, "b4c8889338bf4851a41129e4f58845d8")         \
	X(OUT_OF_DESCRIPTORS, WARNING, "f494d0450b5f48968c5fbdf3a8f2a6da")   \
	X(FD_STORE_FULL, WARNING, "34a7bc4e69c04e75b7a8a9fb85f2c11d")        \
	/* a VM */                                                           \
	X(VM_REGISTERED, INFO, "7a59466d767b4ad48f9518f20ffe085f")           \
	X(VM_RELEASED, INFO, "2003a3b1555b4790bf673b1c4be98bf1")             \
	X(VM_RECOVERED, INFO, "dfed0808de5c4863b89c22b632ab65c8")            \
	X(VM_NOT_RECOVERED, ERROR, "14ecd6638bd94b1f89f60fca716c2d42")       \
	X(VM_DEGRADED, WARNING, "373dbe73d03f4c00b72c2b32e1be500b")          \
	X(VM_ENFORCED, INFO, "d4ddfa8b124e4f3b946655d6b4442301")             \
	X(EXECUTOR_STUCK, WARNING, "129529b273f64b69b13e39aff32822f1")       \
	X(EXECUTOR_ANSWERS, INFO, "fd013417052748a7ae80c4edeb3d4894")        \
	X(JOURNAL_TROUBLE, WARNING, "7eaa969f21794e62b148bd46aa97faa9")      \
	X(JOURNAL_WELL, INFO, "884adf2e5d5a4c1c812a1899fc3d4f0d")            \
	X(JOURNAL_CUT, WARNING, "7d6956ddb74d408ab8dafc72c9df3c32")          \
	X(CHECKPOINT_DAMAGED, WARNING, "8002cbcd3a04445d9d1511f7283e1349")   \
	X(OPERATOR_ACTED, INFO, "16fd6ba8d3054524a23e9ca7ce0502e2")          \
	/* what peers asked for and were not given */                        \
	X(ACCESS_DENIED, WARNING, "a424f8840c024be1aaf6c2de404012f5")        \
	X(LIMIT_REACHED, WARNING, "28dc6833f741412a9352f2d4475872a1")        \
	X(REGISTRATION_REFUSED, WARNING, "49d2f143f167423585abab2413555dea") \
	X(RESUMPTION_REFUSED, INFO, "9e3e787f6a794450a61e231bca914980")      \
	X(PROTOCOL_BROKEN, WARNING, "73429236a4dd4c6bb9bea3199ade7ed8")      \
	X(SUBSCRIBER_DROPPED, INFO, "1bf598a71b5f4945905ee80287e4f393")      \
	/* the log itself */                                                 \
	X(REFUSALS_LEFT_OUT, WARNING, "cade4e52819e42668780f5ff81151413")    \
	X(LINES_LOST, WARNING, "53adc08fd096458fbb53b5575fc4e9ae")

enum log_id {
#define X(name, level, id) LOG_ID_##name,
	LOG_IDS(X)
#undef X
		LOG_N_IDS
};

#endif
