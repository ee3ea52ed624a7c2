// SPDX-License-Identifier: GPL-2.0-or-later
//
// What rpc.discover answers is an OpenRPC document, by the schemas of those who define OpenRPC.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { connect } from './connection.mjs';

const require = createRequire(process.env.KVMATTR_NODE_MODULES);
const Ajv = require('ajv');
const jsonSchema = require('@json-schema-tools/meta-schema').default;
const openrpc14 = require('@open-rpc/spec/1_4/schema.json');
const openrpc13 = require('@open-rpc/meta-schema').default;

async function discover() {
	let connection;
	const answer = await new Promise((resolve) => {
		connect(process.env.KVMATTR_CONTROL, resolve).then((made) => {
			connection = made;
			connection.send({ jsonrpc: '2.0', method: 'rpc.discover', id: 1 });
		});
	});
	connection.close();
	return answer.result;
}

// The schemas are JSON Schemas of a meta-schema of their own, which says what a schema is.
function validator(schema) {
	const formats = { uri: (text) => URL.canParse(text), 'uri-reference': true };
	const ajv = new Ajv({ strict: false, allErrors: true, formats });
	ajv.addMetaSchema(jsonSchema);
	ajv.addSchema(jsonSchema, 'https://meta.json-schema.tools'); // as they refer to it
	return ajv.compile(schema);
}

function check(schema, document) {
	const validate = validator(schema);
	assert.ok(validate(document), JSON.stringify(validate.errors, null, 2));
}

const document = await discover();

test('rpc.discover validates against the schema of OpenRPC 1.4', () => {
	assert.match(document.openrpc, /^1\.4\./);
	check(openrpc14, document);
});

// The package's last schema is that of 1.3.2; its list of versions ends there.
test('it validates against @open-rpc/meta-schema, but for the version', () => {
	check(openrpc13, { ...document, openrpc: '1.3.2' });
});

test('every schema in it compiles', () => {
	const ajv = new Ajv({ strict: false, formats: {} });
	for (const { name, params, result } of document.methods)
		for (const { name: member, schema } of [...params, result])
			assert.doesNotThrow(() => ajv.compile({ ...schema, components: document.components }),
				`${name}: ${member}`);
});

test('every method is there once', () => {
	const names = document.methods.map((method) => method.name);
	assert.equal(new Set(names).size, names.length);
	assert.ok(names.includes('vm.list'));
});

test('what is no such document does not validate', () => {
	for (const schema of [openrpc13, openrpc14]) {
		const validate = validator(schema);
		const broken = structuredClone(document);
		delete broken.methods[0].params;
		assert.equal(validate(broken), false);
		assert.equal(validate({ ...document, methods: undefined }), false);
	}
});
