// SPDX-License-Identifier: Apache-2.0
// A program in another language plays both hosts: node foreign-client.js MODULES REPOSITORY TARGET
// Prints one line per check that holds; exits 1 at the first that does not.
'use strict';

const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');

const [modules, repository, target] = process.argv.slice(2);
const grpc = require(path.join(modules, '@grpc/grpc-js'));
const loader = require(path.join(modules, '@grpc/proto-loader'));

const definition = loader.loadSync(['cosim/v1/bridges.proto', 'cosim/v1/transactions.proto'], {
  includeDirs: [path.join(repository, 'protos')], enums: String, longs: Number, defaults: true, oneofs: true,
});
const { Bridges, Transactions } = grpc.loadPackageDefinition(definition).cosim.v1;
const credentials = grpc.credentials.createInsecure();
const bridges = new Bridges(target, credentials);
const transactions = new Transactions(target, credentials);

function call(client, method, request) {
  return new Promise((resolve, reject) => {
    client[method](request, { deadline: Date.now() + 30000 }, (error, response) => (error ? reject(error) : resolve(response)));
  });
}

async function refused(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('the call was not refused');
}

const endpoint = { bridge: 'program-host', port: 1, function: 0 };

const checks = {
  async create() {
    const scenario = JSON.parse(fs.readFileSync(path.join(repository, 'sim-scripts/scenarios/program-host.json')));
    const status = await call(bridges, 'Create', scenario);
    assert.equal(status.name, 'program-host');
    assert.equal(status.state, 'LINK_DOWN');
    assert.equal(status.functions.length, 2);
  },

  async badScenario() {
    const error = await refused(call(bridges, 'Create', { name: 'Bad Name' }));
    assert.equal(error.code, grpc.status.INVALID_ARGUMENT);
    assert.ok(error.metadata.get('grpc-status-details-bin')[0].includes('google.rpc.BadRequest'));
  },

  async configurationSpaceWatched() {
    const watch = transactions.WatchTlps({ bridge: 'program-host', ports: [1] });
    watch.on('error', () => {});
    await new Promise((resolve) => watch.once('metadata', resolve));
    const two = new Promise((resolve) => {
      const seen = [];
      watch.on('data', (tlp) => { seen.push(tlp); if (seen.length === 2) resolve(seen); });
    });
    const id = await call(transactions, 'ReadConfig', { function: endpoint, offset: 0, length: 4 });
    assert.equal(id.status, 'OK');
    assert.equal(id.data.readUInt32LE(), 0x51010c05);
    const [request, completion] = await two;
    assert.deepEqual([request.type, completion.type], ['CFG_RD0', 'CPLD']);
    assert.ok(completion.cycle > request.cycle);
    watch.cancel();
  },

  async memorySpace() {
    // Address of BAR 0, then Memory Space and Bus Master, as a host's firmware would.
    const address = Buffer.alloc(4);
    address.writeUInt32LE(0xe0000000);
    await call(transactions, 'WriteConfig', { function: endpoint, offset: 0x10, data: address });
    await call(transactions, 'WriteConfig', { function: endpoint, offset: 4, data: Buffer.from([6, 0]) });
    const read = await call(transactions, 'ReadMemory', { function: endpoint, bar: 0, offset: 0, length: 4 });
    assert.equal(read.status, 'OK');
    assert.notEqual(read.data.readUInt32LE(), 0xffffffff);
  },

  async hostMemory() {
    await call(transactions, 'WriteHostMemory', { bridge: 'program-host', port: 0, address: 0x1000, data: Buffer.from('hello') });
    const read = await call(transactions, 'ReadHostMemory', { bridge: 'program-host', port: 0, address: 0x1001, length: 4 });
    assert.equal(read.data.toString(), 'ello');
  },

  async end() {
    await call(bridges, 'Delete', { name: 'program-host' });
    const error = await refused(call(bridges, 'Get', { name: 'program-host' }));
    assert.equal(error.code, grpc.status.NOT_FOUND);
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
  bridges.close();
  transactions.close();
  console.log('all checks hold');
})();
