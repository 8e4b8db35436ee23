// A real host in a folder of its own, asked through its HTTP app, with the probe operator admitted.

import { createHostApp } from '../../host/http/app.ts'
import { Permissions } from '../../host/permissions/permissions.ts'
import { Host, type HostOptions } from '../../host/pipeline/host.ts'
import type { Plan, PlanComponent, PlanEmitter, PlanOperator, PlanSource } from '../../schemas/plan.ts'
import { testFolder, until } from './bridge-driver.ts'
import { PROBE_PORTS, probeWasm } from './probe-operator.ts'

/** Members of answers that tests look at. */
export interface AnswerBody {
  code: string
  state: string
  reason: { code: string; component?: string }
  checkpoint?: { epoch: number }
  changes: unknown[]
  epoch: number
  name: string
  items: unknown[]
  records: { value: unknown }[]
  next: Record<string, string>
  components: Record<string, { recordsIn: number; recordsOut: number; errors: number; deadLetters: number }>
}

export interface Answer {
  status: number
  body: AnswerBody
}

export const source = (id: string, type: string, settings: Record<string, unknown> = {}): PlanSource => ({
  kind: 'source',
  id,
  type,
  settings,
})

export const emitter = (
  id: string,
  type: string,
  from: string[],
  settings: Record<string, unknown> = {},
): PlanEmitter => ({
  kind: 'emitter',
  id,
  type,
  settings,
  from: from.map(edgeOf),
})

function edgeOf(name: string): { component: string; port: string } {
  const [component, port = 'out'] = name.split('.')
  return { component: component!, port }
}

export class TestHost {
  readonly host: Host
  readonly folder: { path: string; remove(): void }
  readonly digest: string
  private readonly app: ReturnType<typeof createHostApp>

  static async start(
    folder = testFolder(),
    flags: string[] = ['--allow-read', '--allow-write'],
    more: Partial<HostOptions> = {},
  ): Promise<TestHost> {
    const permissions = Permissions.parse(flags)
    const host = await Host.start({ dataDir: folder.path, permissions, computeWorkers: 2, ...more })
    const app = createHostApp(host)
    const { report } = await host.modules.put(await probeWasm())
    return new TestHost(host, folder, report.digest, app)
  }

  private constructor(host: Host, folder: TestHost['folder'], digest: string, app: ReturnType<typeof createHostApp>) {
    this.host = host
    this.folder = folder
    this.digest = digest
    this.app = app
  }

  /** Ends the host; the folder stays. */
  async end(): Promise<void> {
    await this.host.stop()
  }

  async remove(): Promise<void> {
    await this.host.stop()
    this.folder.remove()
  }

  /** Ends the host and starts another on the same folder. */
  async again(): Promise<TestHost> {
    await this.host.stop()
    return TestHost.start(this.folder)
  }

  fetch(method: string, path: string, body?: unknown, type = 'application/json'): Promise<Response> {
    const init: RequestInit = { method }
    if (body !== undefined) {
      init.body = type === 'application/json' ? JSON.stringify(body) : (body as string)
      init.headers = { 'content-type': type }
    }
    return Promise.resolve(this.app.fetch(new Request(`http://host${path}`, init)))
  }

  async ask(method: string, path: string, body?: unknown, type?: string): Promise<Answer> {
    const response = await this.fetch(method, path, body, type)
    const text = await response.text()
    try {
      return { status: response.status, body: JSON.parse(text) }
    } catch {
      return { status: response.status, body: {} as AnswerBody }
    }
  }

  /** Fails where the answer is none of success. */
  async ok(method: string, path: string, body?: unknown, type?: string): Promise<Answer['body']> {
    const answer = await this.ask(method, path, body, type)
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
    return answer.body
  }

  probe(
    id: string,
    from: string[],
    settings: Record<string, unknown> = {},
    more: Partial<PlanOperator> = {},
  ): PlanOperator {
    return {
      kind: 'operator',
      id,
      name: 'probe',
      version: '1.0.0',
      digest: this.digest,
      ports: PROBE_PORTS,
      from: from.map(edgeOf),
      settings,
      onError: { do: 'dead-letter', stopAbove: 0.5 },
      limits: {},
      permissions: [],
      ...more,
    }
  }

  plan(id: string, components: PlanComponent[], more: Partial<Plan> = {}): Plan {
    return {
      tenant: 'default',
      id,
      revision: 1,
      delivery: 'at-least-once',
      checkpointEveryMs: 50,
      isolation: 'thread',
      components,
      ...more,
    }
  }

  put(plan: Plan, query = ''): Promise<Answer> {
    return this.ask('PUT', `/pipelines/${plan.tenant}/${plan.id}${query}`, plan)
  }

  async create(plan: Plan): Promise<void> {
    await this.ok('PUT', `/pipelines/${plan.tenant}/${plan.id}`, plan)
  }

  topic(name: string): Promise<unknown> {
    return this.ok('POST', '/topics', { name })
  }

  async ingest(id: string, lines: string[], component = 'in'): Promise<void> {
    await this.ok('POST', `/pipelines/default/${id}/ingest/${component}`, lines.join('\n'), 'application/x-ndjson')
  }

  async produce(topic: string, values: string[]): Promise<void> {
    await this.ok('POST', `/topics/${topic}/records`, values.join('\n'), 'application/x-ndjson')
  }

  /** Values of a topic, as JSON or text. */
  async read(topic: string): Promise<unknown[]> {
    const values: unknown[] = []
    for (let from = 'earliest'; ; ) {
      const { records, next } = await this.ok('GET', `/topics/${topic}/records?limit=10000&from=${from}`)
      for (const { value } of records) values.push(value)
      if (records.length === 0) return values
      from = `offset:${next['0']}`
    }
  }

  async state(id: string): Promise<string> {
    return (await this.ok('GET', `/pipelines/default/${id}`)).state
  }

  async stats(id: string): Promise<AnswerBody['components']> {
    return (await this.ok('GET', `/pipelines/default/${id}/stats`)).components
  }

  untilState(id: string, state: string): Promise<void> {
    return until(async () => (await this.state(id)) === state, `${id} is ${state}`)
  }

  /** Waits until a topic holds at least so many records, and gives their values. */
  async readAtLeast(topic: string, count: number): Promise<unknown[]> {
    let values: unknown[] = []
    await until(async () => {
      values = await this.read(topic)
      return values.length >= count
    }, `${topic} holds ${count} records (${values.length})`)
    return values
  }
}

export const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, i) => String(from + i))
