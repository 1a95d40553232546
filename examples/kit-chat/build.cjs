// Compiles chat.mo and the kit with the npm package `motoko`, and writes the module to the path given,
// or beside chat.mo.
//   node examples/kit-chat/build.cjs [OUT.wasm]
const fs = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..', '..');
const judges = path.join(root, 'tests', 'e2e', 'judges');
const mo = require(require.resolve('motoko', { paths: [judges] })).default;
const kit = fs.readdirSync(path.join(root, 'dfx_backup', 'kit', 'motoko'));
const sources = [
  ...kit.filter((name) => name.endsWith('.mo')).map((name) => `dfx_backup/kit/motoko/${name}`),
  'examples/kit-chat/chat.mo',
];
for (const name of sources) mo.write(name, fs.readFileSync(path.join(root, name), 'utf8'));
mo.setPublicMetadata(['candid:service']);
const { wasm } = mo.wasm('examples/kit-chat/chat.mo', 'ic');
fs.writeFileSync(process.argv[2] ?? path.join(__dirname, 'chat.wasm'), wasm);
