# SPDX-License-Identifier: GPL-2.0-or-later
"""The control socket for tests: calls as lines of JSON, and their verdicts as lines of TAP."""

import json
import os
import socket
import sys


class Control:
    """One connection."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(60)
        self.socket.connect(os.environ['KVMATTR_CONTROL'])
        self.lines = self.socket.makefile('rb')
        self.last_id = 0
        self.events = []

    def receive(self):
        line = self.lines.readline()
        if not line:
            raise ConnectionError('the daemon hung up')
        return json.loads(line)

    def ask(self, method, params):
        """The whole answer: with a result, or with an error."""
        self.last_id += 1
        request = {'jsonrpc': '2.0', 'method': method, 'params': params, 'id': self.last_id}
        self.socket.sendall(json.dumps(request).encode() + b'\n')
        while 'id' not in (answer := self.receive()):
            self.events.append(answer)
        return answer

    def next_event(self):
        """What is pushed to a subscriber, in its order."""
        return self.events.pop(0) if self.events else self.receive()

    def call(self, method, params):
        answer = self.ask(method, params)
        if 'error' in answer:
            raise RuntimeError(f'{method} {json.dumps(params)}: {answer["error"]}')
        return answer['result']


class Tap:
    """Counts what was tested, and prints it."""

    def __init__(self):
        self.n = 0
        self.n_failed = 0

    def ok(self, is_fine, name, detail=''):
        self.n += 1
        if not is_fine:
            self.n_failed += 1
        print(f'{"ok" if is_fine else "not ok"} {self.n} - {name}')
        if not is_fine and detail:
            print('\n'.join(f'# {line}' for line in str(detail).splitlines()))

    def end(self):
        print(f'1..{self.n}')
        sys.exit(1 if self.n_failed else 0)


def skip(reason):
    print(f'1..0 # SKIP {reason}')
    sys.exit(0)
