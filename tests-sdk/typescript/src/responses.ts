/** Responses as the official client asks for them: whole, streamed, gone on from, read again, and nobody else's. */

import { strict as assert } from 'node:assert'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { BadRequestError, NotFoundError } from 'openai'
import { clientOf, refused, world } from './world.js'

/** A question for a few tokens, the same each time. */
function question(model: string) {
  return { model, input: 'w1 w2 w3', max_output_tokens: 8, temperature: 0 }
}

test('a response', async () => {
  const { gateway, client, model } = await world()
  const name = `responses-${randomUUID()}`
  const headers = { 'x-request-id': name, 'x-tollgate-cache': 'no-store' }
  const response = await client.responses.create(question(model), { headers })
  assert.equal(response.object, 'response')
  assert.ok(response.output_text)
  const record = await gateway.record(name)
  assert.equal(record.prompt_tokens, response.usage?.input_tokens)
  assert.equal(record.completion_tokens, response.usage?.output_tokens)
  assert.equal(record.endpoint, 'responses')
  assert.equal(record.outcome, 'OUTCOME_FINISHED')
  assert.ok(!record.estimated)
})

test('a streamed response says what the whole one says', async () => {
  const { client, model } = await world()
  const whole = await client.responses.create(question(model))
  const events = []
  for await (const event of await client.responses.create({ ...question(model), stream: true })) events.push(event)
  assert.deepEqual(events.map((event) => event.sequence_number), [...events.keys()])
  const last = events.at(-1)
  assert.ok(events[0]?.type === 'response.created' && last?.type === 'response.completed')
  const deltas = events.flatMap((event) => (event.type === 'response.output_text.delta' ? [event.delta] : []))
  assert.equal(deltas.join(''), whole.output_text)
  assert.equal(last.response.usage?.output_tokens, whole.usage?.output_tokens)
  // The client's own way to put a stream together.
  const put = await client.responses.stream(question(model)).finalResponse()
  assert.equal(put.output_text, whole.output_text)
})

test('a conversation goes on from its name', async () => {
  const { client, model } = await world()
  const first = await client.responses.create(question(model))
  const second = await client.responses.create({ ...question(model), previous_response_id: first.id })
  assert.equal(second.previous_response_id, first.id)
  assert.ok(second.usage!.input_tokens > first.usage!.input_tokens + first.usage!.output_tokens)
  const read = await client.responses.retrieve(second.id)
  assert.deepEqual(read.output, second.output)
  assert.equal(read.id, second.id)
})

test('nobody else finds a response', async () => {
  const { gateway, client, model } = await world()
  const { id, key } = await gateway.person()
  await gateway.grant(id)
  const first = await client.responses.create(question(model))
  const stranger = clientOf(gateway, key)
  const error = await refused(NotFoundError, 404, stranger.responses.retrieve(first.id))
  assert.equal(error.code, 'response_not_found')
  await refused(NotFoundError, 404, client.responses.retrieve('resp_that_never_was'))
})

test('what is not offered is refused', async () => {
  const { client, model } = await world()
  const error = await refused(BadRequestError, 400, client.responses.create({ ...question(model), background: true }))
  assert.equal(error.param, 'background')
  const unknown = { ...question('no-such-model') }
  await refused(NotFoundError, 404, client.responses.create(unknown))
})
