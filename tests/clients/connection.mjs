// SPDX-License-Identifier: GPL-2.0-or-later
//
// The control socket as messages: one JSON text a line, both ways.

import { createConnection } from 'node:net';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

export async function connect(path, receive) {
	const socket = createConnection(path);
	await once(socket, 'connect');
	createInterface({ input: socket }).on('line', (line) => receive(JSON.parse(line)));
	return {
		send: (message) => { socket.write(`${JSON.stringify(message)}\n`); },
		close: () => socket.destroy(),
	};
}
