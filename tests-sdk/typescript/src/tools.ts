/** Tools: what an engine says of them reaches the caller as it is, be it that it has no parser for them. */

import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { BadRequestError } from 'openai'
import type { ChatCompletionMessageParam, ChatCompletionTool } from 'openai/resources/chat/completions'
import { refused, world } from './world.js'

const TOOL: ChatCompletionTool = {
  type: 'function',
  function: {
    name: 'weather',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
}

/** A conversation in which a tool was called and has answered. */
const CALLED: ChatCompletionMessageParam[] = [
  { role: 'user', content: 'w1 w2' },
  {
    role: 'assistant',
    content: null,
    tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Graz"}' } }],
  },
  { role: 'tool', tool_call_id: 'call_1', content: 'w3' },
]

test('tools that must not be used are let through', async () => {
  const { client, model } = await world()
  const ask = { model, messages: CALLED, tools: [TOOL], tool_choice: 'none' as const, max_tokens: 3 }
  const answer = await client.chat.completions.create(ask)
  assert.equal(answer.choices[0]?.message.role, 'assistant')
  const streamed = await client.chat.completions.stream(ask).finalChatCompletion()
  assert.equal(streamed.choices[0]?.message.role, 'assistant')
})

test('an engine without a parser says what it misses', async () => {
  const { client, model } = await world()
  for (const stream of [false, true]) {
    const ask = { model, messages: CALLED, tools: [TOOL], tool_choice: 'auto' as const, stream }
    const error = await refused(BadRequestError, 400, client.chat.completions.create(ask))
    assert.match(error.message, /--tool-call-parser/)
  }
})
