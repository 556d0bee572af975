/** Files, as the official client uses them. */

import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { BadRequestError, NotFoundError, toFile } from 'openai'
import { clientOf, lines, refused, upload, world } from './world.js'

test('a file goes in and out', async () => {
  const { client } = await world()
  const text = lines({ a: 1 }, { b: 2 })
  const made = await upload(client, text, 'some lines.jsonl')
  assert.deepEqual(
    [made.object, made.purpose, made.filename, made.status, made.bytes],
    ['file', 'batch', 'some lines.jsonl', 'processed', text.length],
  )
  assert.deepEqual(await client.files.retrieve(made.id), made)
  assert.equal(await (await client.files.content(made.id)).text(), text)
  const { id, deleted } = await client.files.delete(made.id)
  assert.ok(id === made.id && deleted)
  assert.equal((await refused(NotFoundError, 404, client.files.retrieve(made.id))).code, 'file_not_found')
  await refused(NotFoundError, 404, client.files.content(made.id))
  await refused(NotFoundError, 404, client.files.delete(made.id))
})

test('a large file comes back byte for byte', async () => {
  const { client } = await world()
  // Longer than a piece of the table, and than a chunk of the way.
  const text = lines(...Array.from({ length: 40_000 }, (_, at) => ({ custom_id: `line ${at}`, text: 'ä'.repeat(20) })))
  const made = await upload(client, text)
  assert.equal(made.bytes, Buffer.byteLength(text))
  assert.equal(await (await client.files.content(made.id)).text(), text)
})

test('a list is read page by page', async () => {
  const { gateway } = await world()
  const client = clientOf(gateway, (await gateway.person()).key)
  const made: string[] = []
  for (let at = 0; at < 5; at += 1) made.push((await upload(client, lines({ at }))).id)
  const listed: string[] = []
  for await (const file of client.files.list({ limit: 2 })) listed.push(file.id)
  assert.deepEqual(listed, [...made].reverse(), 'the newest first')
  const oldest = await client.files.list({ order: 'asc', limit: 3 })
  assert.deepEqual(oldest.data.map((file) => file.id), made.slice(0, 3))
  assert.ok(oldest.has_more)
  assert.equal((await client.files.list({ purpose: 'batch' })).data.length, 5)
  assert.equal((await client.files.list({ purpose: 'batch_output' })).data.length, 0)
})

test('a file is kept as long as it is said', async () => {
  const { client } = await world()
  const file = await toFile(Buffer.from(lines({})), 'short.jsonl')
  const made = await client.files.create({
    file,
    purpose: 'batch',
    expires_after: { anchor: 'created_at', seconds: 7200 },
  })
  assert.ok(Math.abs((made.expires_at ?? 0) - made.created_at - 7200) <= 60)
})

test('what is no file of lines is refused', async () => {
  const { client } = await world()
  for (const bad of [Buffer.from(''), Buffer.from('[1]\n'), Buffer.from([0xff, 0xfe, 0x7b, 0x7d])])
    await refused(BadRequestError, 400, upload(client, bad))
  const file = await toFile(Buffer.from(lines({})), 'lines.jsonl')
  const error = await refused(BadRequestError, 400, client.files.create({ file, purpose: 'assistants' }))
  assert.equal(error.param, 'purpose')
})
