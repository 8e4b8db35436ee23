// A host that only remembers: plans, modules, topics in memory, and what it was asked. For tests of what the manager itself
// keeps and decides; what a real host does with it is tested where both are there.

import { createHash } from 'node:crypto'
import type { Plan } from '../../schemas/plan.ts'

interface Kept {
  plan: Plan
  state: string
}

export class HostDouble {
  readonly modules = new Map<string, Uint8Array>()
  readonly sourceMaps = new Map<string, string>()
  readonly pipelines = new Map<string, Kept>()
  readonly topics = new Map<string, { name: string; partitions: number }>()
  readonly records = new Map<string, string[]>()
  readonly savepoints = new Map<string, { name: string; revision: number }[]>()
  /** `METHOD path` of every request. */
  readonly asked: string[] = []
  /** Answers a plan in place of the double; undefined: it is taken. */
  refuse: (plan: Plan) => Response | undefined = () => undefined

  fetch = async (request: Request): Promise<Response> => {
    const url = new URL(request.url)
    this.asked.push(`${request.method} ${url.pathname}${url.search}`)
    const [, first = '', ...rest] = url.pathname.split('/').map(decodeURIComponent)
    if (first === 'healthz') return Response.json({ ok: true, workers: 1 })
    if (first === 'modules') return this.#module(request, rest)
    if (first === 'pipelines') return this.#pipeline(request, rest, url)
    if (first === 'topics') return this.#topic(request, rest, url)
    return problem(404, 'NOT_FOUND', `no ${url.pathname}`)
  }

  async #module(request: Request, [digest = '', part]: string[]): Promise<Response> {
    if (part === 'source-map') {
      this.sourceMaps.set(digest, await request.text())
      return new Response(null, { status: 204 })
    }
    const bytes = new Uint8Array(await request.arrayBuffer())
    if (createHash('sha256').update(bytes).digest('hex') !== digest) return problem(400, 'INVALID_BODY', 'other bytes')
    if (!WebAssembly.validate(bytes)) return problem(422, 'MODULE_REFUSED', 'no module')
    const isNew = !this.modules.has(digest)
    this.modules.set(digest, bytes)
    const text = /spqr:manifest(\{.*\})$/s.exec(Buffer.from(bytes).toString('latin1'))?.[1]
    const manifest: unknown = text ? JSON.parse(text) : { ports: ['out'], permissions: [] }
    return Response.json({ digest, bytes: bytes.length, abi: 1, manifest }, { status: isNew ? 201 : 200 })
  }

  async #pipeline(request: Request, [tenant, id, action, detail]: string[], url: URL): Promise<Response> {
    if (tenant === undefined) {
      const items = [...this.pipelines.values()].map(({ plan, state }) => ({ tenant: plan.tenant, id: plan.id, state }))
      return Response.json({ items })
    }
    const key = `${tenant}/${id}`
    const kept = this.pipelines.get(key)
    if (request.method === 'PUT') {
      const plan = (await request.json()) as Plan
      for (const c of plan.components) {
        if (c.kind === 'operator' && !this.modules.has(c.digest))
          return problem(404, 'NOT_FOUND', `no module ${c.digest}`)
      }
      const refused = this.refuse(plan)
      if (refused) return refused
      if (url.searchParams.has('keepState')) return problem(409, 'INVALID_STATE', 'the state would be lost')
      const state = plan.paused ? 'paused' : 'running'
      const stays = kept && ['stopped', 'failed', 'completed'].includes(kept.state) && plan.startFrom === undefined
      this.pipelines.set(key, { plan, state: stays ? kept.state : state })
      const changes = plan.components.map((c) => ({ component: c.id, sequence: 7, stateReset: false }))
      const timings = { placeMs: 0.1, instantiateMs: 0.2 }
      return Response.json({
        state: this.pipelines.get(key)!.state,
        warnings: [],
        timings,
        changes: kept ? changes : [],
      })
    }
    if (request.method === 'DELETE') {
      this.pipelines.delete(key)
      return new Response(null, { status: 204 })
    }
    if (action === 'fork-from') return new Response(null, { status: 204 })
    if (!kept) return problem(404, 'NOT_FOUND', `no pipeline ${key}`)
    if (action === 'savepoints') return this.#savepoint(request, key, kept)
    if (request.method === 'POST' && action === 'ingest') {
      const bytes = new Uint8Array(await request.arrayBuffer())
      return Response.json({ accepted: bytes.length, source: detail }, { status: 202 })
    }
    if (request.method === 'POST') {
      kept.state = action === 'pause' ? 'paused' : action === 'stop' ? 'stopped' : 'running'
      return Response.json({ state: kept.state })
    }
    if (action === 'stats') return Response.json({ components: {}, edges: [] })
    if (action === 'out') return events(['{"n":1}', '{"n":2}'])
    return Response.json({ tenant, id, state: kept.state, revision: kept.plan.revision })
  }

  async #savepoint(request: Request, key: string, kept: Kept): Promise<Response> {
    const list = this.savepoints.get(key) ?? []
    if (request.method === 'GET') return Response.json({ items: list })
    const { name } = (await request.json()) as { name: string }
    const savepoint = { name, revision: kept.plan.revision }
    this.savepoints.set(key, [...list, savepoint])
    return Response.json({ ...savepoint, epoch: 1, createdAt: 0, bytes: 0 }, { status: 201 })
  }

  async #topic(request: Request, [name, action]: string[], url: URL): Promise<Response> {
    if (name === undefined && request.method === 'POST') {
      const topic = (await request.json()) as { name: string; partitions: number }
      if (this.topics.has(topic.name)) return problem(409, 'ALREADY_EXISTS', `topic ${topic.name} exists`)
      this.topics.set(topic.name, { ...topic, partitions: topic.partitions ?? 1 })
      return Response.json(this.topics.get(topic.name), { status: 201 })
    }
    if (name === undefined) return Response.json({ items: [...this.topics.values()] })
    if (action === 'records') {
      const all = this.records.get(name)
      if (!all) return problem(404, 'NOT_FOUND', `no topic ${name}`)
      const from = url.searchParams.get('from') ?? 'earliest'
      const at = from === 'latest' ? all.length : from.startsWith('offset:') ? Number(from.slice(7)) : 0
      const page = all.slice(at, at + Number(url.searchParams.get('limit') ?? 100))
      const records = page.map((value, i) => `{"partition":0,"offset":"${at + i}","value":${value}}`)
      return new Response(`{"records":[${records.join(',')}],"next":{"0":"${at + page.length}"}}`)
    }
    if (!this.topics.has(name)) return problem(404, 'NOT_FOUND', `no topic ${name}`)
    if (request.method === 'DELETE') this.topics.delete(name)
    return request.method === 'DELETE' ? new Response(null, { status: 204 }) : Response.json(this.topics.get(name))
  }
}

export function problem(status: number, code: string, detail: string): Response {
  const headers = { 'content-type': 'application/problem+json' }
  return Response.json({ type: 'about:blank', title: code, status, code, detail }, { status, headers })
}

function events(values: string[]): Response {
  const text = values.map((value, i) => `id: ${i}\ndata: ${value}\n\n`).join('')
  return new Response(text, { headers: { 'content-type': 'text/event-stream' } })
}
