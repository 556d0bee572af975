/** The gateways that the tests share, and clients that know nothing of them but a base URL and a key. */

import { strict as assert } from 'node:assert'
import { after } from 'node:test'
import OpenAI, { APIError, toFile } from 'openai'
import { ENGINE, type Gateway, Machine, PATIENCE } from './gateway.js'

const machine = new Machine()
after(() => machine.stop())

/** What is made when it is first asked for. */
function lazy<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return () => (made ??= make())
}

/** A gateway as it comes: one engine, simulated unless TOLLGATE_TEST_ENGINE names a real one. */
export const usual = lazy(() => machine.gateway(ENGINE))

/** A simulated engine without embeddings that runs one request at a time and can be made to fail. */
export const narrowEngine = lazy(() =>
  machine.engine('--task', 'generate', '--model', 'narrow', '--max-num-seqs', '1', '--faults'),
)

/** A gateway that lets one request through and one wait. */
export const narrow = lazy(async () =>
  machine.gateway(await narrowEngine(), {
    TOLLGATE_INFERENCE__QUEUE__LENGTH: '1',
    TOLLGATE_INFERENCE__ENGINE__MAX_IN_FLIGHT: '1',
    // Its engine is made to fail, and is to be asked again at once.
    TOLLGATE_INFERENCE__ENGINE__BREAKER__FAILURES: '1000',
  }),
)

/** The official client of a gateway's owner, or of whoever has the key. */
export function clientOf(gateway: Gateway, apiKey = gateway.key): OpenAI {
  return new OpenAI({ baseURL: gateway.baseURL, apiKey, maxRetries: 0, timeout: PATIENCE })
}

/** The usual gateway and its owner's client. */
export async function world(): Promise<{ gateway: Gateway; client: OpenAI; model: string }> {
  const gateway = await usual()
  return { gateway, client: clientOf(gateway), model: gateway.model }
}

/** Makes an engine go on to `max_tokens`; not OpenAI's, so the client's types do not know it. */
export const EXACTLY = { ignore_eos: true } as object

/** A question of three tokens. */
export const HELLO = [{ role: 'user' as const, content: 'w1 w2 w3' }]

/** A kind of error that the client throws. */
type Kind = abstract new (...all: never[]) => APIError

/** The error of a call that must fail like this. Its body has OpenAI's four fields and nothing else. */
export async function refused(kind: Kind, status: number, call: PromiseLike<unknown>): Promise<APIError> {
  const error = await Promise.resolve(call).then(
    () => assert.fail('it was not refused'),
    (error: unknown) => error,
  )
  assert.ok(error instanceof APIError && error.constructor === kind, String(error))
  assert.equal(error.status, status)
  assert.match(error.headers?.get('content-type') ?? '', /^application\/json/)
  assert.ok(error.requestID)
  const body = error.error as { [field: string]: unknown }
  assert.deepEqual(Object.keys(body).sort(), ['code', 'message', 'param', 'type'])
  for (const field of ['code', 'message', 'type']) assert.ok(body[field] && typeof body[field] === 'string', field)
  assert.ok(body['param'] === null || typeof body['param'] === 'string')
  return error
}

/** A file of these lines, or of what is written as it is. */
export function lines(...all: (object | string)[]): string {
  return all.map((line) => (typeof line === 'string' ? line : `${JSON.stringify(line)}\n`)).join('')
}

/** Uploads a file for batches. */
export async function upload(client: OpenAI, text: string | Uint8Array, name = 'lines.jsonl') {
  return client.files.create({ file: await toFile(Buffer.from(text), name), purpose: 'batch' })
}
