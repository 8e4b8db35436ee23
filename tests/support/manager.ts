// A manager over a store in a folder of its own, with one operator that comes with the product.

import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createManager, type Manager } from '../../manager/http/create-manager.ts'
import { ControlStore } from '../../manager/store/control-store.ts'
import { HostDouble } from './host-double.ts'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..')

export interface Answer {
  status: number
  /** Looked into as a caller does. */
  body: ReturnType<typeof JSON.parse>
  headers: Headers
}

export interface TestManager {
  folder: string
  host: HostDouble
  manager: Manager
  store: ControlStore
  log: string[]
  /** Asks as a client does; an object is sent as JSON. */
  ask(method: string, path: string, body?: unknown, type?: string): Promise<Answer>
  /** Ends it as a crash does: nothing is said to anybody. */
  crash(): Promise<void>
}

/** The smallest modules that have a custom section: a manifest and nothing else. */
export function moduleWith(manifest: object): Uint8Array<ArrayBuffer> {
  const text = Buffer.from(JSON.stringify(manifest))
  const name = Buffer.from('spqr:manifest')
  const content = Buffer.concat([leb(name.length), name, text])
  return new Uint8Array(
    Buffer.concat([Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]), Buffer.from([0]), leb(content.length), content]),
  )
}

function leb(value: number): Buffer {
  const bytes: number[] = []
  for (let rest = value; ; rest >>>= 7) {
    bytes.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0))
    if (rest <= 0x7f) return Buffer.from(bytes)
  }
}

export const scratch = (): string => mkdtempSync(join(tmpdir(), 'spqr-manager-'))

export async function startManager(options: { folder?: string; host?: HostDouble } = {}): Promise<TestManager> {
  const folder = options.folder ?? scratch()
  const host = options.host ?? new HostDouble()
  const store = ControlStore.open(folder)
  const log: string[] = []
  const manager = await createManager({
    store,
    hosts: [{ id: 'local', url: 'http://host', fetch: host.fetch }],
    shippedFolder: shipped(folder),
    compiler: { operatorsFolder: join(root, 'wasm-operators'), asconfig: join(root, 'asconfig.json') },
    version: '0.0.0',
    log: (line) => log.push(line),
  })
  await manager.started
  const crash = async (): Promise<void> => {
    await manager.stop()
    store.stop()
  }
  return { folder, host, manager, store, log, ask: asker(manager), crash }
}

/** json-filter 1.0.0, as a folder of shipped operators. */
function shipped(folder: string): string {
  const wasm = moduleWith({ ports: ['out', 'rejected'], permissions: [] })
  const files = join(folder, 'shipped')
  mkdirSync(files, { recursive: true })
  writeFileSync(join(files, '1.0.0.wasm'), wasm)
  const sha256 = createHash('sha256').update(wasm).digest('hex')
  const entry = { name: 'json-filter', version: '1.0.0', file: '1.0.0.wasm', bytes: wasm.length, sha256 }
  writeFileSync(join(files, 'index.json'), JSON.stringify([entry]))
  return files
}

function asker(manager: Manager): TestManager['ask'] {
  return async (method, path, body, type) => {
    const init: RequestInit = { method }
    if (body !== undefined) {
      init.body = type === undefined ? JSON.stringify(body) : (body as string)
      init.headers = { 'content-type': type ?? 'application/json' }
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

/** A document with a source, a filter and an emitter. */
export function document(id: string, more: object = {}): Record<string, unknown> {
  return {
    id,
    components: [
      { id: 'in', source: 'http' },
      { id: 'f', operator: 'json-filter@1', from: 'in', settings: { where: [{ path: 'a', equals: 1 }] } },
      { id: 'd', emitter: 'discard', from: 'f' },
    ],
    ...more,
  }
}
