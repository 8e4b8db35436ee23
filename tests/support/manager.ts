// A manager over a store and a real host in a folder of its own.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { COMPILER_FILES, SHIPPED_FOLDER } from '../../manager/cli/product.ts'
import { createManager, type Manager } from '../../manager/http/create-manager.ts'
import { appendSection } from '../../manager/operators/compile.ts'
import { readShipped } from '../../manager/operators/shipped.ts'
import { ControlStore } from '../../manager/store/control-store.ts'
import { RecordedHost } from './recorded-host.ts'

export interface Answer {
  status: number
  /** Looked into as a caller does. */
  body: ReturnType<typeof JSON.parse>
  headers: Headers
}

export interface TestManager {
  folder: string
  host: RecordedHost
  manager: Manager
  store: ControlStore
  log: string[]
  /** Asks as a client does; an object is sent as JSON. */
  ask(method: string, path: string, body?: unknown, type?: string): Promise<Answer>
  /** The same as whoever has this token, or none; with more headers. */
  as(token: string | undefined, headers?: Record<string, string>): TestManager['ask']
  /** The state of a pipeline, once it is the wanted one. */
  state(id: string, wanted: string): Promise<Answer['body']>
  stop(): Promise<void>
}

const MANIFEST_SECTION = 'spqr:manifest'

/** The module of json-filter with another manifest: other bytes that are admitted. */
export function moduleWith(manifest: object): Uint8Array<ArrayBuffer> {
  const wasm = new Uint8Array(readFileSync(join(SHIPPED_FOLDER, 'json-filter', versionOfFilter())))
  const name = Buffer.from(MANIFEST_SECTION)
  const at = Buffer.from(wasm).lastIndexOf(name)
  // The compiler appends the manifest: the section begins before its name with its id, its length, the name's length.
  let from = at - 2
  while (wasm[from] !== 0) from--
  return new Uint8Array(appendSection(wasm.subarray(0, from), MANIFEST_SECTION, JSON.stringify(manifest)))
}

function versionOfFilter(): string {
  const filter = readShipped(SHIPPED_FOLDER).find(({ name }) => name === 'json-filter')
  if (!filter) throw new Error('json-filter was not built')
  return `${filter.version}.wasm`
}

export const scratch = (): string => mkdtempSync(join(tmpdir(), 'spqr-manager-'))

export interface TestManagerOptions {
  folder?: string
  /** The manager asks for tokens; `ask` brings this one. */
  adminToken?: string
  secretsKey?: string
}

export async function startManager(options: TestManagerOptions = {}): Promise<TestManager> {
  const folder = options.folder ?? scratch()
  const host = await RecordedHost.start(folder)
  return startOver(folder, host, options)
}

/** A manager over a host that is there already. */
export async function startOver(
  folder: string,
  host: RecordedHost,
  { adminToken, secretsKey }: TestManagerOptions = {},
): Promise<TestManager> {
  const store = ControlStore.open(folder)
  const log: string[] = []
  const manager = await createManager({
    store,
    hosts: [{ id: 'local', url: 'http://host', fetch: host.fetch }],
    shippedFolder: SHIPPED_FOLDER,
    compiler: COMPILER_FILES,
    version: '0.0.0',
    ...(adminToken === undefined ? {} : { adminToken }),
    ...(secretsKey === undefined ? {} : { secretsKey }),
    log: (line) => log.push(line),
  })
  await manager.started
  const as: TestManager['as'] = (token, headers) => asker(manager, token, headers)
  const ask = as(adminToken)
  const stop = async (): Promise<void> => {
    await manager.stop()
    store.stop()
    await host.stop()
  }
  const state = async (id: string, wanted: string): Promise<Answer['body']> => {
    for (;;) {
      const { body } = await ask('GET', `/v1/pipelines/${id}`)
      if (body.state === wanted) return body
      if (body.state === 'failed') throw new Error(`${id} is failed: ${JSON.stringify(body.reason)}`)
      await new Promise((done) => setTimeout(done, 5))
    }
  }
  return { folder, host, manager, store, log, ask, as, state, stop }
}

function asker(manager: Manager, token?: string, more: Record<string, string> = {}): TestManager['ask'] {
  return async (method, path, body, type) => {
    const headers: Record<string, string> = { ...more }
    if (token !== undefined) headers.authorization = `Bearer ${token}`
    const init: RequestInit = { method, headers }
    if (body !== undefined) {
      init.body = type === undefined ? JSON.stringify(body) : (body as string)
      headers['content-type'] = type ?? 'application/json'
    }
    const response = await manager.fetch(new Request(`http://127.0.0.1:8400${path}`, init))
    const text = await response.text()
    let parsed: unknown = text
    try {
      parsed = JSON.parse(text)
    } catch {
      // Not JSON: the text itself.
    }
    return { status: response.status, body: parsed, headers: response.headers }
  }
}

export const remove = (folder: string): void => rmSync(folder, { recursive: true, force: true })

/** A document with a source, a filter and an emitter that keeps what it got. */
export function document(id: string, more: object = {}): Record<string, unknown> {
  return {
    id,
    components: [
      { id: 'in', source: 'http' },
      { id: 'f', operator: 'json-filter@1', from: 'in', settings: { where: [{ path: 'a', equals: 1 }] } },
      { id: 'd', emitter: 'sse', from: 'f' },
    ],
    ...more,
  }
}
