/** What a caller gets who may not or cannot: the client's own errors, and one shape of body whoever refuses. */

import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import OpenAI, {
  APIError,
  AuthenticationError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  PermissionDeniedError,
} from 'openai'
import { type Gateway, until } from './gateway.js'
import { clientOf, HELLO, narrow, narrowEngine, refused, world } from './world.js'

const WRONG_KEY = `tgk_${'0'.repeat(43)}`

function chat(client: OpenAI, model: string, more: object = {}): PromiseLike<unknown> {
  return client.chat.completions.create({ model, messages: HELLO, max_tokens: 4, ...more })
}

test('a wrong key', async () => {
  const { gateway, model } = await world()
  const client = clientOf(gateway, WRONG_KEY)
  for (const call of [() => client.models.list(), () => chat(client, model)])
    assert.equal((await refused(AuthenticationError, 401, call())).code, 'invalid_api_key')
})

test('a revoked key', async () => {
  const { gateway } = await world()
  const { id, key } = await gateway.person()
  const { keys } = await gateway.rest<{ keys: { key_id: string }[] }>('GET', `keys?user_id=${id}`)
  await gateway.rest('DELETE', `keys/${keys[0]?.key_id}?reason=lost`)
  await until('the key is no longer taken', async () => !(await gateway.accepts(key)))
  await refused(AuthenticationError, 401, clientOf(gateway, key).models.list())
})

test('no grant', async () => {
  const { gateway, model } = await world()
  const client = clientOf(gateway, (await gateway.person()).key)
  for (const stream of [false, true]) {
    const error = await refused(PermissionDeniedError, 403, chat(client, model, { stream }))
    assert.equal(error.param, 'model')
    assert.ok(error.message.includes(model))
  }
})

test('an unknown model', async () => {
  const { client } = await world()
  const model = 'no-such-model'
  const calls = [
    () => chat(client, model),
    () => client.completions.create({ model, prompt: 'w1' }),
    () => client.embeddings.create({ model, input: 'w1' }),
    () => client.models.retrieve(model),
  ]
  for (const call of calls) {
    const error = await refused(NotFoundError, 404, call())
    assert.equal(error.param, 'model')
    assert.ok(error.message.includes(model))
  }
})

const BAD: [object, string | undefined][] = [
  [{ messages: 'hello' }, undefined],
  [{ messages: [] }, undefined],
  [{ temperature: -1 }, 'temperature'],
  [{ n: 0 }, undefined],
  [{ max_tokens: 'many' }, 'max_tokens'],
  [{ stream_options: { include_usage: true } }, 'stream_options'],
]

for (const [more, param] of BAD) {
  test(`a bad body: ${JSON.stringify(more)}`, async () => {
    const { client, model } = await world()
    const error = await refused(BadRequestError, 400, chat(client, model, more))
    if (param) assert.equal(error.param, param)
  })
}

test('a prompt that is too long', async () => {
  const { client, model } = await world()
  const messages = [{ role: 'user', content: 'w1 '.repeat(6000) }]
  for (const stream of [false, true]) {
    const error = await refused(BadRequestError, 400, chat(client, model, { messages, stream }))
    assert.match(error.message, /maximum context length/)
  }
})

test('an engine without embeddings', async () => {
  const gateway = await narrow()
  const call = clientOf(gateway).embeddings.create({ model: gateway.model, input: 'w1' })
  await refused(NotFoundError, 404, call)
})

test('an unknown route and a wrong method', async () => {
  const { client } = await world()
  await refused(NotFoundError, 404, client.get('/nothing'))
  await refused(NotFoundError, 404, client.post('/chat/completions/nothing', { body: {} }))
  await refused(APIError, 405, client.delete('/models'))
})

/** Makes the next requests of a simulated engine go wrong; without a fault, all is well again. */
async function fault(engine: string, fault: object = {}): Promise<void> {
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(`${engine}/simulator/fault`, { method: 'POST', headers, body: JSON.stringify(fault) })
  assert.ok(answer.ok)
}

test('a stream that breaks off throws', async () => {
  const gateway: Gateway = await narrow()
  await fault(await narrowEngine(), { in_band_error: { after_events: 3, status: 500, times: 1 } })
  const ask = { model: gateway.model, messages: HELLO, max_tokens: 20, stream: true as const }
  const stream = await clientOf(gateway).chat.completions.create(ask)
  let seen = 0
  const read = async () => {
    for await (const _ of stream) seen += 1
  }
  await assert.rejects(read(), (error) => error instanceof APIError && error.message !== '')
  assert.equal(seen, 3)
})

test('an engine that fails for good is 503', async () => {
  const gateway = await narrow()
  const client = clientOf(gateway)
  await fault(await narrowEngine(), { in_band_error: { after_events: 0, status: 500 } })
  try {
    for (const stream of [false, true]) {
      const error = await refused(InternalServerError, 503, chat(client, gateway.model, { stream }))
      assert.ok(Number(error.headers?.get('retry-after')) >= 1)
    }
  } finally {
    await fault(await narrowEngine())
  }
  await chat(client, gateway.model)
})
