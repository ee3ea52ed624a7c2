// SPDX-License-Identifier: GPL-2.0-or-later
//
// json-rpc-2.0, a JSON-RPC client from npm, as it is, drives the daemon: its requests are lines.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, test } from 'node:test';
import { connect } from './connection.mjs';

const require = createRequire(process.env.KVMATTR_NODE_MODULES);
const { JSONRPCClient, createJSONRPCRequest } = require('json-rpc-2.0');

const connection = await connect(process.env.KVMATTR_CONTROL, (message) => client.receive(message));
const client = new JSONRPCClient((payload) => connection.send(payload));
after(() => connection.close());

const call = (method, params = {}) => client.request(method, params);

test('daemon.get says which daemon this is', async () => {
	const answer = await call('daemon.get');
	assert.equal(answer.counters.vms, 2);
	assert.ok(answer.pid > 1);
});

test('vm.list names both VMs', async () => {
	const { vms } = await call('vm.list');
	assert.deepEqual(vms.map((vm) => vm.name).sort(), ['demo', 'spare']);
});

test('vm.update enables a layer and protects pages, and answers with their commits', async () => {
	const enabled = await call('vm.update', {
		vm: 'demo', kind: 'enable-layer', layer: 1, protection: 'rwx', mbec: false,
	});
	const protect = await call('vm.update', {
		vm: 'demo', kind: 'protect', layer: 1, protection: 'rx',
		ranges: [{ gpa: '0x10000', pages: 16 }, { gpa: 0x40000, pages: 1 }],
	});
	assert.equal(protect.commit, enabled.commit + 1);
	assert.equal(protect.elements, 2);
});

test('vm.get and vm.layers show the layer', async () => {
	const { layers } = await call('vm.layers', { vm: 'demo' });
	assert.equal(layers.length, 1);
	assert.deepEqual((await call('vm.get', { vm: 'demo' })).layers, layers);
	assert.equal(layers[0].layer, 1);
});

test('map.effective has the protected pages, and parameters may be positional', async () => {
	const { runs } = await call('map.effective', ['demo', 0, '0x10000', '0x41000']);
	assert.deepEqual(
		runs.map(({ gpa, pages, protection }) => [gpa, pages, protection]),
		[['0x10000', 16, 'rx'], ['0x20000', 32, 'rwx'], ['0x40000', 1, 'rx']],
	);
});

test('map.layer goes on with the cursor of its answer', async () => {
	const runs = [];
	let cursor;
	do {
		const answer = await call('map.layer', { vm: 'demo', layer: 1, limit: 1, cursor });
		runs.push(...answer.runs);
		cursor = answer.cursor;
	} while (cursor !== undefined);
	assert.equal(runs.length, 5);
	assert.equal(runs.reduce((n, run) => n + run.pages, 0), 4096);
	assert.equal(runs.filter((run) => run.source === 'explicit').length, 2);
});

test('map.summary counts every page', async () => {
	const { buckets } = await call('map.summary', { vm: 'demo', buckets: 4 });
	const count = (name) => buckets.reduce((n, bucket) => n + (bucket.pages[name] ?? 0), 0);
	assert.equal(count('rx'), 17);
	assert.equal(count('rwx'), 4096 - 17);
});

test('map.explain names the layer that denies', async () => {
	const { accesses } = await call('map.explain', { vm: 'demo', gpa: '0x10000', access: 'w' });
	assert.equal(accesses[0].allowed, false);
	assert.equal(accesses[0].intercept, 1);
});

test('journal.log has the commits', async () => {
	const { commit } = await call('vm.get', { vm: 'demo' });
	const answer = await call('journal.log', { journal: 'demo' });
	assert.ok(JSON.stringify(answer).includes(`"commit":${commit}`));
});

test('stats.get counts the updates', async () => {
	const { vms } = await call('stats.get', { vm: 'demo' });
	assert.equal(vms.length, 1);
	assert.ok(vms[0].updates >= 2);
});

test('vm.freeze holds updates back until vm.thaw', async () => {
	assert.equal((await call('vm.freeze', { vm: 'demo' })).frozen, true);
	assert.equal((await call('vm.thaw', { vm: 'demo' })).frozen, false);
});

test('an error has a code, and data that say what is wrong', async () => {
	await assert.rejects(call('vm.nothing'), { code: -32601, message: 'Method not found' });
	await assert.rejects(call('vm.get', { vm: 7 }), (error) => {
		assert.equal(error.code, -32602);
		assert.equal(error.data.path, 'params.vm');
		return true;
	});
	await assert.rejects(call('vm.get', { vm: 'nobody' }), (error) => {
		assert.equal(error.data.status, 'NO_VM');
		return true;
	});
});

test('a batch is answered call by call', async () => {
	const answers = await client.requestAdvanced([
		createJSONRPCRequest('a', 'vm.list', {}),
		createJSONRPCRequest('b', 'vm.nothing', {}),
		createJSONRPCRequest('c', 'log.get_level', {}),
	]);
	assert.deepEqual(answers.map((answer) => answer.id), ['a', 'b', 'c']);
	assert.deepEqual(answers.map((answer) => 'result' in answer), [true, false, true]);
});

test('a notification is carried out and not answered', async () => {
	client.notify('log.set_level', { level: 'warning' });
	assert.equal((await call('log.get_level')).level, 'warning');
});

test('calls that are made at once all get their own answers', async () => {
	const gpas = Array.from({ length: 200 }, (_, i) => `0x${(i << 12).toString(16)}`);
	const answers = await Promise.all(gpas.map((gpa) => call('map.explain', { vm: 'demo', gpa })));
	assert.deepEqual(answers.map((answer) => answer.gpa), gpas);
});
