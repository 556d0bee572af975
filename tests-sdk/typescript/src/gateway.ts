/**
 * Starts a gateway and, where a test needs one of its own, a simulated engine; speaks REST to set people up.
 *
 * Nothing here talks OpenAI: that is left to the official client in the tests.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync, readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { strict as assert } from 'node:assert'
import { setTimeout as sleep } from 'node:timers/promises'
import { randomUUID } from 'node:crypto'

/** A real engine to put behind the gateway, such as http://127.0.0.1:8123; empty for the simulated one. */
export const ENGINE = process.env['TOLLGATE_TEST_ENGINE'] ?? ''

/** Milliseconds after which something that should come is given up; generous, because machines are slow at times. */
export const PATIENCE = 60_000

/** Looks until there is something, and returns it. */
export async function until<T>(what: string, look: () => Promise<T | false | undefined>): Promise<T> {
  const end = Date.now() + PATIENCE
  while (Date.now() < end) {
    const found = await look()
    if (found) return found
    await sleep(20)
  }
  throw new assert.AssertionError({ message: `${what}: not within ${PATIENCE} ms` })
}

/** One record of the usage ledger; numbers that are zero are left out. */
export interface Record {
  usage_id: string
  request_id: string
  outcome: string
  endpoint: string
  stream?: boolean
  estimated?: boolean
  prompt_tokens?: number
  completion_tokens?: number
}

type Settings = { [name: string]: string }

interface Named {
  model_id: string
  name: string
}

/** A running gateway, as its owner sees it. */
export class Gateway {
  constructor(
    readonly url: string,
    readonly key: string,
    readonly model: string,
  ) {}

  /** What an OpenAI client is told. */
  get baseURL(): string {
    return `${this.url}/v1`
  }

  /** One call of the REST API; returns the data of the answer. */
  async rest<T>(method: string, path: string, body?: unknown): Promise<T> {
    const headers = { authorization: `Bearer ${this.key}`, 'content-type': 'application/json' }
    const signal = AbortSignal.timeout(PATIENCE)
    const sent = body === undefined ? {} : { body: JSON.stringify(body) }
    const answer = await fetch(`${this.url}/api/v1/${path}`, { method, headers, signal, ...sent })
    const text = await answer.text()
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`)
    return JSON.parse(text).data
  }

  /** A new member without any grant: their id and their key. */
  async person(): Promise<{ id: string; key: string }> {
    const named = { email: `${randomUUID()}@example.com`, display_name: 'A member' }
    const { user } = await this.rest<{ user: { user_id: string } }>('POST', 'users', named)
    const made = await this.rest<{ secret: string }>('POST', 'keys', { name: 'test', user_id: user.user_id })
    await until('the new key is known', () => this.accepts(made.secret))
    return { id: user.user_id, key: made.secret }
  }

  /** Whether the gateway knows a key by now. */
  async accepts(key: string): Promise<boolean> {
    const answer = await fetch(`${this.baseURL}/models`, { headers: { authorization: `Bearer ${key}` } })
    await answer.arrayBuffer()
    return answer.status === 200
  }

  /** Lets a person use the model. */
  async grant(user: string): Promise<void> {
    const { models } = await this.rest<{ models: Named[] }>('GET', `models?search=${this.model}`)
    const model = models.find((model) => model.name === this.model)
    const grant = { model_id: model?.model_id, user_id: user, action: 'ACTION_USE' }
    await this.rest('POST', 'grants', { grant })
  }

  /** The one ledger record of a request, once it is there. */
  async record(request: string): Promise<Record> {
    const records = await until(`a record of ${request}`, async () => {
      const { records } = await this.rest<{ records: Record[] }>('GET', `usage/records?request_id=${request}`)
      return records.length > 0 && records
    })
    assert.equal(records.length, 1)
    return records[0] as Record
  }

  /** Whether no engine holds a request: neither by the gateway's account nor by the engine's own. */
  async idle(): Promise<boolean> {
    type Engine = { url: string; requests_in_flight: number }
    const { engines } = await this.rest<{ engines: Engine[] }>('GET', 'engines')
    const loads = await Promise.all(engines.map((engine) => load(engine.url)))
    return engines.every((engine) => engine.requests_in_flight === 0) && loads.every((load) => load === 0)
  }
}

/** Requests that an engine runs or keeps waiting, as its metrics say. */
async function load(engine: string): Promise<number> {
  const lines = (await (await fetch(`${engine}/metrics`)).text()).split('\n')
  const values = lines.filter((line) => /^vllm:num_requests_(running|waiting)\{/.test(line))
  assert.equal(values.length, 2)
  return values.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
}

/** Processes and folders of one test run; `stop` ends and deletes them. */
export class Machine {
  readonly #running: ChildProcess[] = []
  readonly #folders: string[] = []

  /** A gateway in a fresh folder, ready to serve; without an engine it brings a simulated one. */
  async gateway(engine = '', settings: Settings = {}): Promise<Gateway> {
    const folder = await this.#folder()
    const data = join(folder, 'data')
    const engines: Settings = engine ? { TOLLGATE_ENGINES: engine } : {}
    const up = ['up', '--data-dir', data, '--listen', '127.0.0.1:0']
    const look = this.#start(folder, up, { ...settings, ...engines })
    const made = await until('the gateway is ready', async () => {
      look()
      const text = await readFile(join(data, 'first-run.json'), 'utf8').catch(() => '')
      return text !== '' && JSON.parse(text)
    })
    assert.ok(made.model, `no model was found:\n${look()}`)
    return new Gateway(made.base_url, made.api_key, made.model)
  }

  /** A simulated engine of its own: its URL. */
  async engine(...flags: string[]): Promise<string> {
    const look = this.#start(await this.#folder(), ['engine', '--listen', '127.0.0.1:0', ...flags], {})
    return until('the engine is ready', async () => /^simulated engine on (.*)$/m.exec(look())?.[1])
  }

  async stop(): Promise<void> {
    for (const child of this.#running.splice(0).reverse()) {
      if (child.exitCode !== null) continue
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      const late = setTimeout(() => child.kill('SIGKILL'), PATIENCE)
      await ended
      clearTimeout(late)
    }
    await Promise.all(this.#folders.splice(0).map((folder) => rm(folder, { recursive: true, force: true })))
  }

  async #folder(): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'tollgate-sdk-'))
    this.#folders.push(folder)
    return folder
  }

  /** Starts the binary. What it returns reads what was printed so far, and fails once the process has ended. */
  #start(folder: string, options: string[], settings: Settings): () => string {
    const log = join(folder, 'log')
    const output = openSync(log, 'w')
    const env = environment(settings)
    const child = spawn(binary(), options, { stdio: ['ignore', output, output], env })
    let failed = ''
    child.on('error', (error) => (failed = error.message))
    this.#running.push(child)
    return () => {
      const printed = readFileSync(log, 'utf8')
      assert.ok(child.exitCode === null && failed === '', `the process ended: ${failed}\n${printed}`)
      return printed
    }
  }
}

function binary(): string {
  const path = process.env['TOLLGATE_BIN']
  assert.ok(path, 'TOLLGATE_BIN must name the binary under test')
  return path
}

/** This process's environment without any Tollgate setting but the given ones; ports are the system's choice. */
function environment(settings: Settings): NodeJS.ProcessEnv {
  const clean = Object.entries(process.env).filter(([name]) => !name.startsWith('TOLLGATE_'))
  const ports = ['PERMISSIONS', 'INFERENCE', 'MONITORING'].map((name) => [`TOLLGATE_PORTS__${name}`, '127.0.0.1:0'])
  // How busy the machine is and what the clock says are nothing to what a client gets.
  const calm = ['WARNING', 'CRITICAL'].map((level) => [`TOLLGATE_LIMITS__LOAD__${level}_FACTOR`, '1'])
  calm.push(['TOLLGATE_LIMITS__HOURS', '[]'])
  return { ...Object.fromEntries([...clean, ...ports, ...calm]), ...settings }
}
