/** Batches, as the official client uses them: a file of requests in, a file of answers and one of errors out. */

import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import OpenAI, { BadRequestError, NotFoundError } from 'openai'
import type { Batch, BatchCreateParams } from 'openai/resources/batches'
import { ENGINE, until } from './gateway.js'
import { clientOf, EXACTLY, lines, refused, upload, world } from './world.js'

const CHAT = '/v1/chat/completions'

interface Line {
  id: string
  custom_id: string
  response: { status_code: number; request_id: string; body: { [field: string]: any } }
  error: null | { code: string; message: string }
}

function ask(model: string, name: string, url: string = CHAT, body: object = chat(name)): object {
  return { custom_id: name, method: 'POST', url, body: { model, ...body } }
}

function chat(name: string, max_tokens = 3): object {
  return { messages: [{ role: 'user', content: `w1 ${name}` }], max_tokens }
}

async function create(client: OpenAI, text: string, more: Partial<BatchCreateParams> = {}): Promise<Batch> {
  const file = await upload(client, text)
  return client.batches.create({ input_file_id: file.id, endpoint: CHAT, completion_window: '24h', ...more })
}

/** A batch once it is over. */
function over(client: OpenAI, batch: Batch): Promise<Batch> {
  return until('the batch is over', async () => {
    const found = await client.batches.retrieve(batch.id)
    return ['completed', 'failed', 'expired', 'cancelled'].includes(found.status) && found
  })
}

async function content(client: OpenAI, file: string | undefined): Promise<Line[]> {
  const text = await (await client.files.content(file ?? '')).text()
  return text.trimEnd().split('\n').map((line) => JSON.parse(line))
}

test('a batch of chats', async () => {
  const { gateway, client, model } = await world()
  const names = Array.from({ length: 20 }, (_, at) => `line-${at}`)
  const text = lines(...names.map((name) => ask(model, name)), ask('nobody-knows-it', 'unknown'))
  const made = await create(client, text, { metadata: { made: 'by a test' } })
  assert.equal(made.object, 'batch')
  assert.ok(['validating', 'in_progress', 'finalizing', 'completed'].includes(made.status))
  const batch = await over(client, made)
  assert.equal(batch.status, 'completed')
  assert.deepEqual(batch.metadata, { made: 'by a test' })
  assert.deepEqual(batch.request_counts, { total: 21, completed: 20, failed: 1 })
  const answers = await content(client, batch.output_file_id)
  assert.deepEqual(answers.map((line) => line.custom_id).sort(), [...names].sort())
  for (const { response, error } of answers) {
    assert.equal(error, null)
    assert.equal(response.status_code, 200)
    assert.equal(response.body['object'], 'chat.completion')
  }
  const errors = await content(client, batch.error_file_id)
  assert.deepEqual(errors.map((line) => [line.custom_id, line.response.status_code]), [['unknown', 404]])
  const { request_id, body } = answers[0]!.response
  assert.equal((await gateway.record(request_id)).completion_tokens, body['usage'].completion_tokens)
  const output = await client.files.retrieve(batch.output_file_id ?? '')
  assert.equal(output.purpose, 'batch_output')
})

test('a batch of completions', async () => {
  const { client, model } = await world()
  const url = '/v1/completions'
  const all = [0, 1, 2].map((at) => ask(model, `${at}`, url, { prompt: 'w1', max_tokens: 2 }))
  const batch = await over(client, await create(client, lines(...all), { endpoint: url }))
  const answers = await content(client, batch.output_file_id)
  assert.deepEqual(answers.map((line) => line.response.body['object']), Array(3).fill('text_completion'))
})

test('a batch of embeddings', { skip: ENGINE !== '' && 'this engine has none' }, async () => {
  const { client, model } = await world()
  const url = '/v1/embeddings'
  const all = [0, 1, 2].map((at) => ask(model, `${at}`, url, { input: [`w${at}`, 'w9'] }))
  const batch = await over(client, await create(client, lines(...all), { endpoint: url }))
  const answers = await content(client, batch.output_file_id)
  assert.deepEqual(answers.map((line) => line.response.body['data'].length), [2, 2, 2])
})

test('a file with wrong lines fails and says where', async () => {
  const { client, model } = await world()
  const one = ask(model, 'one')
  const batch = await over(client, await create(client, lines(one, '{nonsense\n', one)))
  assert.equal(batch.status, 'failed')
  assert.ok(!batch.output_file_id)
  assert.deepEqual(batch.errors?.data?.map(({ line, code }) => [line, code]), [
    [2, 'invalid_json_line'],
    [3, 'duplicate_custom_id'],
  ])
})

test('a batch that is cancelled keeps what was answered', async () => {
  const { gateway, client, model } = await world()
  const all = Array.from({ length: 400 }, (_, at) => ask(model, `${at}`, CHAT, { ...chat(`${at}`, 500), ...EXACTLY }))
  const made = await create(client, lines(...all))
  await until('it runs', async () => (await client.batches.retrieve(made.id)).status === 'in_progress')
  assert.ok(['cancelling', 'cancelled'].includes((await client.batches.cancel(made.id)).status))
  const batch = await over(client, made)
  assert.equal(batch.status, 'cancelled')
  const { completed, failed, total } = batch.request_counts!
  assert.ok(total === 400 && completed + failed < 400)
  const answers = batch.output_file_id ? await content(client, batch.output_file_id) : []
  assert.equal(answers.length, completed)
  await until('the engine is idle', () => gateway.idle())
})

test('batches are listed page by page', async () => {
  const { gateway, model } = await world()
  const { id, key } = await gateway.person()
  await gateway.grant(id)
  const client = clientOf(gateway, key)
  const made: string[] = []
  for (const at of [0, 1, 2, 3, 4]) made.push((await create(client, lines(ask(model, `${at}`)))).id)
  const listed: string[] = []
  for await (const batch of client.batches.list({ limit: 2 })) listed.push(batch.id)
  assert.deepEqual(listed, made.reverse())
})

test('what is no batch is refused', async () => {
  const { client, model } = await world()
  const text = lines(ask(model, 'one'))
  const bad: [object, string][] = [
    [{ endpoint: '/v1/nothing' }, 'endpoint'],
    [{ completion_window: 'soon' }, 'completion_window'],
    [{ metadata: { long: 'x'.repeat(513) } }, 'metadata'],
  ]
  for (const [more, param] of bad)
    assert.equal((await refused(BadRequestError, 400, create(client, text, more))).param, param)
  const nothing = { input_file_id: `file-${'0'.repeat(32)}` }
  assert.equal((await refused(NotFoundError, 404, create(client, text, nothing))).code, 'file_not_found')
})

test('files and batches are seen by their owner alone', async () => {
  const { gateway, client, model } = await world()
  const batch = await over(client, await create(client, lines(ask(model, 'mine'))))
  const { id, key } = await gateway.person()
  await gateway.grant(id)
  const other = clientOf(gateway, key)
  assert.deepEqual((await other.files.list()).data, [])
  assert.deepEqual((await other.batches.list()).data, [])
  const { input_file_id, output_file_id = '' } = batch
  const looks = [
    () => other.files.retrieve(input_file_id),
    () => other.files.content(output_file_id),
    () => other.files.delete(input_file_id),
    () => other.batches.retrieve(batch.id),
    () => other.batches.cancel(batch.id),
    () => other.batches.create({ input_file_id, endpoint: CHAT, completion_window: '24h' }),
  ]
  for (const look of looks) await refused(NotFoundError, 404, look())
})
