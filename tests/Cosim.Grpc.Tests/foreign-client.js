// SPDX-License-Identifier: Apache-2.0
// A client of another make against the echo server: node foreign-client.js MODULES PROTOS TARGET
// Prints one line per check that holds; exits 1 at the first that does not.
'use strict';

const assert = require('node:assert');
const path = require('node:path');

const [modules, protos, target] = process.argv.slice(2);
const grpc = require(path.join(modules, '@grpc/grpc-js'));
const loader = require(path.join(modules, '@grpc/proto-loader'));

function load(file) {
  const definition = loader.loadSync(file, {
    includeDirs: [path.join(protos, 'protos'), protos], keepCase: true, enums: String, defaults: true, oneofs: true,
  });
  return grpc.loadPackageDefinition(definition);
}

const credentials = grpc.credentials.createInsecure();
const { Echo } = load('echo.proto').cosim.tests;
const { Health } = load('grpc/health/v1/health.proto').grpc.health.v1;
const { ServerReflection } = load('grpc/reflection/v1/reflection.proto').grpc.reflection.v1;
const gzip = { 'grpc.default_compression_algorithm': 2 };
const client = new Echo(target, credentials);

function unary(stub, request, metadata = new grpc.Metadata(), options = {}) {
  return new Promise((resolve) => {
    let trailers;
    const call = stub(request, metadata, options, (error, response) => setImmediate(() => resolve({ error, response, trailers, call })));
    call.on('status', (status) => { trailers = status.metadata; });
  });
}

function responses(call) {
  return new Promise((resolve) => {
    const all = [];
    let error;
    call.on('data', (m) => all.push(m));
    call.on('error', (e) => { error = e; });
    call.on('end', () => resolve({ all, error }));
  });
}

const checks = {
  async unary() {
    const metadata = new grpc.Metadata();
    metadata.set('echo-text', 'plain');
    metadata.set('echo-bin', Buffer.from([0, 255, 1]));
    const { error, response, trailers } = await unary(client.Unary.bind(client), { text: 'grüße' }, metadata);
    assert.ifError(error);
    assert.equal(response.text, 'grüße');
    assert.deepEqual(trailers.get('echo-text'), ['plain']);
    assert.deepEqual(trailers.get('echo-bin'), [Buffer.from([0, 255, 1])]);
  },

  async large() {
    const payload = Buffer.alloc(3 << 20, 'cosim');
    const { error, response } = await unary(client.Unary.bind(client), { payload });
    assert.ifError(error);
    assert.ok(payload.equals(response.payload));
  },

  async gzip() {
    const compressing = new Echo(target, credentials, gzip);
    const payload = Buffer.alloc(1 << 20);
    const { error, response } = await unary(compressing.Unary.bind(compressing), { payload });
    compressing.close();
    assert.ifError(error);
    assert.equal(response.payload.length, payload.length);
  },

  async clientStreaming() {
    const response = await new Promise((resolve, reject) => {
      const call = client.Collect((error, r) => (error ? reject(error) : resolve(r)));
      ['a', 'b', 'c'].forEach((text) => call.write({ text }));
      call.end();
    });
    assert.equal(response.text, 'abc');
  },

  async serverStreaming() {
    const { all, error } = await responses(client.Expand({ text: 'x', count: 100 }));
    assert.ifError(error);
    assert.deepEqual(all.map((m) => m.index), [...Array(100).keys()]);
  },

  async duplexStreaming() {
    const call = client.Converse();
    const headers = await new Promise((resolve) => call.once('metadata', resolve));
    assert.deepEqual(headers.get('greeting'), ['hello']);
    for (let i = 0; i < 10; i += 1) {
      const next = new Promise((resolve) => call.once('data', resolve));
      call.write({ text: `${i}` });
      assert.equal((await next).text, `${i}`);
    }
    const end = new Promise((resolve) => call.once('status', resolve));
    call.end();
    call.resume();
    assert.equal((await end).code, grpc.status.OK);
  },

  async errorDetails() {
    const { error } = await unary(client.Unary.bind(client), { text: 'größer', action: 'FAIL' });
    assert.equal(error.code, grpc.status.FAILED_PRECONDITION);
    assert.equal(error.details, '100 % wrong: größer');
    assert.deepEqual(error.metadata.get('reason').length, 1);
    assert.ok(error.metadata.get('grpc-status-details-bin')[0].includes('größer'));
  },

  async errorAfterMessages() {
    const { all, error } = await responses(client.Expand({ text: 'x', count: 2, action: 'FAIL' }));
    // grpc-js drops messages that nobody has read yet when the error arrives.
    assert.ok(all.length >= 1);
    assert.equal(error.code, grpc.status.FAILED_PRECONDITION);
  },

  async unimplemented() {
    const { error } = await unary(client.Missing.bind(client), {});
    assert.equal(error.code, grpc.status.UNIMPLEMENTED);
  },

  async deadline() {
    const { error } = await unary(client.Unary.bind(client), { text: 'node deadline', action: 'HANG' }, undefined, { deadline: Date.now() + 200 });
    assert.equal(error.code, grpc.status.DEADLINE_EXCEEDED);
  },

  async cancellation() {
    const call = client.Converse();
    const end = responses(call);
    await new Promise((resolve) => call.once('metadata', resolve));
    call.cancel();
    assert.equal((await end).error.code, grpc.status.CANCELLED);
  },

  async health() {
    const health = new Health(target, credentials);
    const { error, response } = await unary(health.Check.bind(health), { service: 'cosim.tests.Echo' });
    health.close();
    assert.ifError(error);
    assert.equal(response.status, 'SERVING');
  },

  async reflection() {
    const reflection = new ServerReflection(target, credentials);
    const call = reflection.ServerReflectionInfo();
    const end = responses(call);
    call.write({ list_services: '' });
    call.write({ file_containing_symbol: 'cosim.tests.Echo' });
    call.end();
    const { all, error } = await end;
    reflection.close();
    assert.ifError(error);
    assert.ok(all[0].list_services_response.service.some((s) => s.name === 'cosim.tests.Echo'));
    assert.equal(all[1].file_descriptor_response.file_descriptor_proto.length, 1);
  },
};

(async () => {
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check();
    } catch (error) {
      console.log(`${name}: ${error.stack}`);
      process.exit(1);
    }
    console.log(`${name} ok`);
  }
  client.close();
  console.log('all checks hold');
})();
