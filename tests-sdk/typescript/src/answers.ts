/** What a caller gets who may: models, chat and completions, whole and streamed. */

import { strict as assert } from 'node:assert'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { until } from './gateway.js'
import { clientOf, EXACTLY, HELLO, world } from './world.js'

test('models are those that the key may use', async () => {
  const { gateway, model } = await world()
  const { id, key } = await gateway.person()
  const client = clientOf(gateway, key)
  assert.deepEqual((await client.models.list()).data, [])
  await gateway.grant(id)
  const models = await until('the grant is known', async () => {
    const { data } = await client.models.list()
    return data.length > 0 && data
  })
  assert.deepEqual(models.map(({ id, object }) => [id, object]), [[model, 'model']])
  assert.equal((await client.models.retrieve(model)).id, model)
})

test('a chat', async () => {
  const { client, model } = await world()
  const ask = { model, messages: HELLO, max_tokens: 7, temperature: 0, ...EXACTLY }
  const answer = await client.chat.completions.create(ask)
  assert.equal(answer.object, 'chat.completion')
  assert.equal(answer.model, model)
  const [choice, ...others] = answer.choices
  assert.equal(others.length, 0)
  assert.equal(choice?.message.role, 'assistant')
  assert.ok(choice.message.content)
  assert.equal(choice.finish_reason, 'length')
  assert.ok(answer.usage && answer.usage.prompt_tokens > 0)
  assert.equal(answer.usage.completion_tokens, 7)
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + 7)
})

test('the headers name the request and its record', async () => {
  const { gateway, client, model } = await world()
  const ask = { model, messages: HELLO, max_tokens: 5 }
  const { data, response, request_id } = await client.chat.completions.create(ask).withResponse()
  assert.equal(response.headers.get('x-request-id'), request_id)
  const record = await gateway.record(request_id ?? '')
  assert.equal(record.usage_id, response.headers.get('x-tollgate-usage-id'))
  assert.equal(record.outcome, 'OUTCOME_FINISHED')
  assert.ok(!record.estimated)
  assert.equal(record.prompt_tokens, data.usage?.prompt_tokens)
  assert.equal(record.completion_tokens, data.usage?.completion_tokens)
})

test('a request id of the caller is kept', async () => {
  const { gateway, client, model } = await world()
  const name = `my-${randomUUID()}`
  const ask = { model, messages: HELLO, max_tokens: 1 }
  const headers = { 'x-request-id': name }
  const { response } = await client.chat.completions.create(ask, { headers }).withResponse()
  assert.equal(response.headers.get('x-request-id'), name)
  assert.equal((await gateway.record(name)).request_id, name)
})

test('a streamed chat without usage', async () => {
  const { gateway, client, model } = await world()
  const ask = { model, messages: HELLO, max_tokens: 6, stream: true as const, ...EXACTLY }
  const { data, response } = await client.chat.completions.create(ask).withResponse()
  assert.match(response.headers.get('content-type') ?? '', /^text\/event-stream/)
  const chunks = []
  for await (const chunk of data) chunks.push(chunk)
  assert.ok(chunks.every((chunk) => !chunk.usage && chunk.choices.length === 1))
  assert.equal(chunks[0]?.choices[0]?.delta.role, 'assistant')
  const reasons = chunks.map((chunk) => chunk.choices[0]?.finish_reason).filter((reason) => reason)
  assert.deepEqual(reasons, ['length'])
  assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1)
  const record = await gateway.record(response.headers.get('x-request-id') ?? '')
  assert.equal(record.completion_tokens, 6)
  assert.ok(record.stream && !record.estimated)
})

test('a streamed chat with usage', async () => {
  const { gateway, client, model } = await world()
  const { data, response } = await client.chat.completions
    .create({
      model,
      messages: HELLO,
      max_tokens: 6,
      stream: true,
      stream_options: { include_usage: true },
      ...EXACTLY,
    })
    .withResponse()
  const chunks = []
  for await (const chunk of data) chunks.push(chunk)
  const last = chunks.pop()
  assert.ok(chunks.length > 0 && chunks.every((chunk) => !chunk.usage))
  assert.deepEqual(last?.choices, [])
  assert.equal(last?.usage?.completion_tokens, 6)
  const record = await gateway.record(response.headers.get('x-request-id') ?? '')
  assert.equal(record.prompt_tokens, last?.usage?.prompt_tokens)
  assert.equal(record.completion_tokens, 6)
})

test('a stream says what the whole answer says', async () => {
  const { client, model } = await world()
  const ask = { model, messages: HELLO, max_tokens: 12, temperature: 0, seed: 1, ...EXACTLY }
  const whole = await client.chat.completions.create(ask)
  // The client's own way to put a stream together.
  const streamed = await client.chat.completions.stream(ask).finalContent()
  assert.equal(streamed, whole.choices[0]?.message.content)
})

test('two choices', async () => {
  const { client, model } = await world()
  const answer = await client.chat.completions.create({ model, messages: HELLO, max_tokens: 4, n: 2, ...EXACTLY })
  assert.deepEqual(answer.choices.map((choice) => choice.index), [0, 1])
  assert.equal(answer.usage?.completion_tokens, 8)
})

test('a completion', async () => {
  const { client, model } = await world()
  const answer = await client.completions.create({ model, prompt: 'w1 w2', max_tokens: 5, ...EXACTLY })
  assert.equal(answer.object, 'text_completion')
  assert.equal(answer.choices[0]?.finish_reason, 'length')
  assert.equal(answer.usage?.completion_tokens, 5)
})

test('a streamed completion', async () => {
  const { client, model } = await world()
  const ask = { model, prompt: 'w1 w2', max_tokens: 5, temperature: 0, seed: 1, ...EXACTLY }
  const whole = await client.completions.create(ask)
  const stream_options = { include_usage: true }
  const chunks = []
  for await (const chunk of await client.completions.create({ ...ask, stream: true, stream_options }))
    chunks.push(chunk)
  const last = chunks.pop()
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.text ?? '').join(''), whole.choices[0]?.text)
  assert.deepEqual(last?.choices, [])
  assert.equal(last?.usage?.completion_tokens, 5)
})
