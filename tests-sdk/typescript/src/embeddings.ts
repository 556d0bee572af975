/** Embeddings: as numbers, and as the base64 that the client asks for unless it is told otherwise. */

import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { NotFoundError } from 'openai'
import { ENGINE } from './gateway.js'
import { world } from './world.js'

/** Embeddings with less precision than a double has may differ in the last place. */
function near(one: number[], other: number[]): void {
  assert.equal(one.length, other.length)
  one.forEach((number, at) => assert.ok(Math.abs(number - (other[at] ?? NaN)) < 1e-6, `number ${at}`))
}

if (ENGINE) {
  test('an engine that generates has no embeddings', async () => {
    const { client, model } = await world()
    await assert.rejects(client.embeddings.create({ model, input: 'w1' }), NotFoundError)
  })
} else {
  test('embeddings of several texts', async () => {
    const { gateway, client, model } = await world()
    const input = ['w1 w2 w3', 'w4', 'w1 w2 w3']
    const { data: answer, response } = await client.embeddings.create({ model, input }).withResponse()
    assert.deepEqual(answer.data.map(({ index, object }) => [index, object]), [0, 1, 2].map((at) => [at, 'embedding']))
    const [one, other, again] = answer.data.map((item) => item.embedding)
    assert.ok(one && other && one.length > 0 && one.length === other.length)
    assert.deepEqual(one, again)
    assert.notDeepEqual(one, other)
    const record = await gateway.record(response.headers.get('x-request-id') ?? '')
    assert.ok(answer.usage.prompt_tokens > 0)
    assert.equal(record.prompt_tokens, answer.usage.prompt_tokens)
    assert.equal(record.completion_tokens ?? 0, 0)
    assert.equal(record.endpoint, 'embeddings')
  })

  test('both formats say the same', async () => {
    const { client, model } = await world()
    const ask = { model, input: 'w5 w6' }
    const float = await client.embeddings.create({ ...ask, encoding_format: 'float' })
    // Asked for by name, base64 is handed on as it came.
    const base64 = await client.embeddings.create({ ...ask, encoding_format: 'base64' })
    const numbers = float.data[0]?.embedding
    assert.ok(Array.isArray(numbers) && numbers.length > 0)
    const bytes = Buffer.from(base64.data[0]?.embedding as unknown as string, 'base64')
    near([...new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)], numbers)
    near((await client.embeddings.create(ask)).data[0]?.embedding ?? [], numbers)
    assert.deepEqual(base64.usage, float.usage)
  })

  test('tokens in the place of texts', async () => {
    const { client, model } = await world()
    const answer = await client.embeddings.create({ model, input: [[1, 2, 3], [4]] })
    assert.equal(answer.data.length, 2)
    assert.equal(answer.usage.prompt_tokens, 4)
  })

  test('a hundred texts keep their order', async () => {
    const { client, model } = await world()
    const input = Array.from({ length: 100 }, (_, at) => `w${at}`)
    const all = await client.embeddings.create({ model, input, encoding_format: 'float' })
    assert.deepEqual(all.data.map((item) => item.index), [...input.keys()])
    for (const at of [0, 41, 99]) {
      const alone = await client.embeddings.create({ model, input: `w${at}`, encoding_format: 'float' })
      near(alone.data[0]?.embedding ?? [], all.data[at]?.embedding ?? [])
    }
  })
}
