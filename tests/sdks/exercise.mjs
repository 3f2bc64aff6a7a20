// Uses the generated client for Node.js as an integrator would; what exercise.py does. The client's folder is the second argument.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setTimeout as wait } from 'node:timers/promises';

const [, , phase, folder] = process.argv;
const require = createRequire(import.meta.url);
const ledger = require(folder);
// Installed beside the other packages for Node.js that the tests use.
const { Webhook } = createRequire(new URL('../node/package.json', import.meta.url))('standardwebhooks');

const transfer = (debitAccount, creditAccount, minor, expiresInS) => ({
  debitAccount,
  creditAccount,
  amount: { minor, currency: 'EUR' },
  ...(expiresInS === undefined ? {} : { pending: { expiresInS } }),
});

async function refusal(call) {
  try {
    await call();
  } catch (error) {
    if (!(error instanceof ledger.ResponseError)) throw error;
    const problem = ledger.ProblemFromJSON(await error.response.json());
    const told = {
      status: error.response.status,
      code: problem.code,
      fields: (problem.errors ?? []).map((one) => one.field),
    };
    if (problem.retryAfterS !== undefined) {
      told.waits = problem.retryAfterS > 0 && Number(error.response.headers.get('Retry-After')) >= 1;
    }
    return told;
  }
  return {};
}

async function settled(read) {
  for (let tries = 0; tries < 1200; tries += 1) {
    const found = await read();
    if (found.state !== 'pending') return found;
    await wait(50);
  }
  throw new Error('it stayed pending');
}

async function use(asked) {
  const { name } = asked;
  const [alice, bob] = [`${name}-alice`, `${name}-bob`];
  const told = {};
  const configuration = new ledger.Configuration({ basePath: asked.url, accessToken: asked.token });
  const transfers = new ledger.TransfersApi(configuration);
  const transactions = new ledger.TransactionsApi(configuration);
  const accounts = new ledger.AccountsApi(configuration);
  const batches = new ledger.BatchesApi(configuration);
  const endpoints = new ledger.WebhookEndpointsApi(configuration);
  const create = (key, request) => transfers.createTransfer({ idempotencyKey: `${name}-${key}`, transferRequest: request });
  const became = (id) => settled(() => transactions.getTransaction({ id }));

  const request = { idempotencyKey: `${name}-1`, transferRequest: transfer('external:bank', alice, 500) };
  const first = await transfers.createTransferRaw(request);
  const { transactionId } = await first.value();
  const found = await became(transactionId);
  told.transfer = [found.state, found.kind, found.amount.minor, found.amount.currency];
  const ledgerPosition = first.raw.headers.get('Ledger-Position');
  let balance = await accounts.getBalance({ id: alice, ledgerPosition });
  told.balance = [balance.balanceMinor, balance.availableMinor];
  const again = await transfers.createTransferRaw(request);
  // An answer of a later ledger, which says more.
  told.newer = ledger.BalanceFromJSON(asked.newer).balanceMinor;
  told.replayed = [(await again.value()).transactionId === transactionId, again.raw.headers.get('Idempotent-Replay')];
  told.reused = await refusal(() => create(1, transfer('external:bank', alice, 501)));
  told.wrong = await refusal(() => create(2, transfer(alice, alice, 1)));
  told.unknown = await refusal(() => accounts.getBalance({ id: `${name}-nobody` }));
  const items = [transfer(alice, bob, 100), transfer(`${name}-poor`, bob, 1)];
  const { batchId } = await batches.createBatch({ idempotencyKey: `${name}-3`, batchRequest: { items } });
  const batch = await settled(() => batches.getBatch({ id: batchId }));
  told.batch = [batch.state, ...batch.items.map((one) => [one.state, one.reason])];
  const pending = await create(4, transfer(alice, bob, 50, 600));
  await became(pending.transactionId);
  const step = await transfers.postTransfer({
    id: pending.transactionId,
    idempotencyKey: `${name}-5`,
    postRequest: { amount: { minor: 30 } },
  });
  const posted = await became(step.transactionId);
  const { hold } = await transactions.getTransaction({ id: pending.transactionId });
  told.pending = [posted.state, posted.amount.minor, hold.state, hold.resolvedBy === step.transactionId];
  balance = await accounts.getBalance({ id: alice });
  told.left = [balance.balanceMinor, balance.availableMinor];
  const made = await endpoints.createWebhookEndpoint({ webhookEndpointRequest: { url: asked.hook_url, signature: 'v1' } });
  const last = await create(6, transfer(alice, bob, 1));
  await endpoints.testWebhookEndpoint({ id: made.endpointId });
  told.webhook = { endpoint_id: made.endpointId, transaction_id: last.transactionId, key: made.secret };
  const limited = new ledger.AccountsApi(new ledger.Configuration({ basePath: asked.url, accessToken: asked.limited_token }));
  // Together, for one a second passes.
  const refusals = await Promise.all(Array.from({ length: 50 }, () => refusal(() => limited.getBalance({ id: 'nobody' }))));
  told.limited = refusals.find((one) => one.status === 429);
  const stranger = new ledger.AccountsApi(new ledger.Configuration({ basePath: asked.url }));
  told.stranger = await refusal(() => stranger.getBalance({ id: 'nobody' }));
  return told;
}

function hear(asked) {
  return asked.messages.map(({ body, headers }) => {
    new Webhook(asked.key).verify(body, headers);
    const event = ledger.WebhookEventFromJSON(JSON.parse(body));
    return [event.type, event.type.includes('endpoint') ? event.data.endpointId : event.data.transactionId];
  });
}

const asked = JSON.parse(readFileSync(0, 'utf8'));
console.log(JSON.stringify(await { use, hear }[phase](asked)));
