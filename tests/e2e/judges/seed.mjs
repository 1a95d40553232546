// The JavaScript agent runs the seed scenario against a replica, with certificates and query
// signatures verified:   node seed.mjs principal | node seed.mjs run URL CANISTER_ID
import { Actor, HttpAgent, CanisterStatus } from '@icp-sdk/core/agent';
import { IDL } from '@icp-sdk/core/candid';
import { Ed25519KeyIdentity } from '@icp-sdk/core/identity';
import { Principal } from '@icp-sdk/core/principal';
import assert from 'node:assert/strict';

const identity = Ed25519KeyIdentity.generate(new Uint8Array(32).fill(7));
const [command, host, canisterText] = process.argv.slice(2);

if (command === 'principal') {
  console.log(identity.getPrincipal().toText());
} else {
  await run();
}

async function run() {
  const agent = await HttpAgent.create({
    host,
    identity,
    shouldFetchRootKey: true,
    verifyQuerySignatures: true,
  });
  const canisterId = Principal.fromText(canisterText);
  const chat = Actor.createActor(
    ({ IDL }) =>
      IDL.Service({
        append: IDL.Func([IDL.Text], [IDL.Nat], []),
        dump: IDL.Func([], [IDL.Vec(IDL.Text)], ['query']),
        remove_spam: IDL.Func([], [IDL.Nat], []),
      }),
    { agent, canisterId },
  );
  const management = snapshots(agent, canisterId);
  const target = { canister_id: canisterId };

  const sent = ['Hi there!', ...Array.from({ length: 9 }, (_, i) => `message ${i}`)];
  for (const text of sent) await chat.append(text);
  assert.deepEqual(await chat.dump(), sent);

  await management.stop_canister(target);
  await assert.rejects(chat.append('too late'), /stopped/i);
  const taken = await management.take_canister_snapshot({ ...target, replace_snapshot: [] });
  await management.start_canister(target);
  assert.equal((await management.list_canister_snapshots(target)).length, 1);

  await chat.remove_spam();
  assert.deepEqual(await chat.dump(), []);

  await management.stop_canister(target);
  await management.load_canister_snapshot({ ...target, snapshot_id: taken.id });
  await management.start_canister(target);
  assert.deepEqual(await chat.dump(), sent);

  const status = await CanisterStatus.request({
    canisterId,
    agent,
    paths: ['controllers', 'module_hash', 'candid'],
  });
  assert.equal(status.get('controllers')[0].toText(), identity.getPrincipal().toText());
  console.log(JSON.stringify({ messages: sent.length, moduleHash: status.get('module_hash') }));
}

// The snapshot methods of the management canister, as an actor of our own.
function snapshots(agent, effectiveCanisterId) {
  const target = { canister_id: IDL.Principal };
  const snapshot = IDL.Record({
    id: IDL.Vec(IDL.Nat8),
    taken_at_timestamp: IDL.Nat64,
    total_size: IDL.Nat64,
  });
  const service = IDL.Service({
    stop_canister: IDL.Func([IDL.Record(target)], [], []),
    start_canister: IDL.Func([IDL.Record(target)], [], []),
    take_canister_snapshot: IDL.Func(
      [IDL.Record({ ...target, replace_snapshot: IDL.Opt(IDL.Vec(IDL.Nat8)) })],
      [snapshot],
      [],
    ),
    load_canister_snapshot: IDL.Func(
      [IDL.Record({ ...target, snapshot_id: IDL.Vec(IDL.Nat8) })],
      [],
      [],
    ),
    list_canister_snapshots: IDL.Func([IDL.Record(target)], [IDL.Vec(snapshot)], []),
  });
  return Actor.createActor(() => service, {
    agent,
    canisterId: Principal.managementCanister(),
    callTransform: () => ({ effectiveCanisterId }),
    queryTransform: () => ({ effectiveCanisterId }),
  });
}
