/** Many requests at once, more than there is room for, and callers who go away. */

import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import OpenAI, { APIUserAbortError, RateLimitError } from 'openai'
import { type Gateway, until } from './gateway.js'
import { clientOf, EXACTLY, narrow, refused, world } from './world.js'

function asked(gateway: Gateway, max_tokens: number, content = 'w1 w2 w3') {
  return { model: gateway.model, messages: [{ role: 'user' as const, content }], max_tokens, ...EXACTLY }
}

/** On a slow machine too, so many are answered sooner or later. */
const PATIENT = { headers: { 'x-tollgate-priority': 'batch' } }

/** A stream of 3000 tokens, of which the first piece has come. */
async function running(client: OpenAI, gateway: Gateway) {
  const begun = client.chat.completions.create({ ...asked(gateway, 3000), stream: true })
  const { data, response } = await begun.withResponse()
  const pieces = data[Symbol.asyncIterator]()
  await pieces.next()
  return { stream: data, pieces, request: response.headers.get('x-request-id') ?? '' }
}

test('fifty streams at once', async () => {
  const { gateway, client } = await world()
  const one = async (at: number) => {
    const ask = asked(gateway, 8, `w${at}`)
    const ids = new Set<string>()
    let usage: number | undefined
    const stream_options = { include_usage: true }
    const stream = { ...ask, stream: true as const, stream_options }
    for await (const chunk of await client.chat.completions.create(stream, PATIENT)) {
      ids.add(chunk.id)
      usage = chunk.usage?.completion_tokens
    }
    assert.equal(usage, 8)
    return [...ids]
  }
  const ids = await Promise.all(Array.from({ length: 50 }, (_, at) => one(at)))
  assert.equal(new Set(ids.flat()).size, 50, 'no stream has pieces of another one')
})

test('an aborted stream frees the engine and is accounted for', async () => {
  const { gateway, client } = await world()
  const { stream, pieces, request } = await running(client, gateway)
  for (let seen = 1; seen < 4; seen += 1) await pieces.next()
  assert.ok(!(await gateway.idle()))
  stream.controller.abort()
  await until('the engine is idle', () => gateway.idle())
  const record = await gateway.record(request)
  assert.equal(record.outcome, 'OUTCOME_CANCELLED')
  assert.ok(record.estimated && record.completion_tokens! >= 3 && record.completion_tokens! < 3000)
})

test('an aborted call that waits for its whole answer frees the engine', async () => {
  const { gateway, client } = await world()
  const leaving = new AbortController()
  const headers = { 'x-request-id': `aborted-${Date.now()}` }
  const call = client.chat.completions.create(asked(gateway, 3000), { signal: leaving.signal, headers })
  const ended = assert.rejects(call, APIUserAbortError)
  await until('the engine has it', async () => !(await gateway.idle()))
  leaving.abort()
  await ended
  await until('the engine is idle', () => gateway.idle())
  assert.equal((await gateway.record(headers['x-request-id'])).outcome, 'OUTCOME_CANCELLED')
})

test('a full queue says when to come back', async () => {
  const gateway = await narrow()
  const client = clientOf(gateway)
  // One runs and one waits; who comes then is refused.
  const first = await running(client, gateway)
  const calls = [0, 1].map(() => client.chat.completions.create(asked(gateway, 1)))
  const ends = calls.map((call) => Promise.resolve(call).then(() => 'served', () => 'refused'))
  assert.equal(await Promise.race(ends), 'refused')
  first.stream.controller.abort()
  // The place is free at once, so the one that waited is served.
  assert.deepEqual((await Promise.all(ends)).sort(), ['refused', 'served'])
  const at = (await ends[0]) === 'refused' ? 0 : 1
  const error = await refused(RateLimitError, 429, calls[at]!)
  assert.equal(error.code, 'queue_full')
  assert.ok(error.message.includes(gateway.model))
  assert.ok(Number(error.headers?.get('retry-after')) >= 1)
  assert.equal((await calls[1 - at]!).usage?.completion_tokens, 1)
  await until('the engine is idle', () => gateway.idle())
})
