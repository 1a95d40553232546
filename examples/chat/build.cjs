// Compiles chat.mo with the npm package `motoko` and writes the module to the path given, or beside it.
//   node examples/chat/build.cjs [OUT.wasm]
const fs = require('node:fs');
const path = require('node:path');

const judges = path.join(__dirname, '..', '..', 'tests', 'e2e', 'judges');
const mo = require(require.resolve('motoko', { paths: [judges] })).default;
mo.write('chat.mo', fs.readFileSync(path.join(__dirname, 'chat.mo'), 'utf8'));
const { wasm } = mo.wasm('chat.mo', 'ic');
fs.writeFileSync(process.argv[2] ?? path.join(__dirname, 'chat.wasm'), wasm);
