// The product's API as a test uses it: over the network or in memory.

import { createServer, type Server } from 'node:http'

export interface Answer {
  status: number
  /** Looked into as a caller does. */
  body: ReturnType<typeof JSON.parse>
}

export type Send = (request: Request) => Response | Promise<Response>

/** A record of a topic, as the API tells it. */
export interface TopicRecord {
  partition: number
  offset: string
  key: ReturnType<typeof JSON.parse>
  value: ReturnType<typeof JSON.parse>
}

const FEED_RECORDS = 5000
const UNTIL_MS = 30_000

export class Client {
  readonly #send: Send

  constructor(send: Send) {
    this.#send = send
  }

  /** An object is sent as JSON, a text with its type. */
  async ask(method: string, path: string, body?: unknown, type?: string): Promise<Answer> {
    const init: RequestInit = { method }
    if (body !== undefined) {
      init.body = type === undefined ? JSON.stringify(body) : (body as string)
      init.headers = { 'content-type': type ?? 'application/json' }
    }
    const response = await this.#send(new Request(`http://127.0.0.1:8400${path}`, init))
    const text = await response.text()
    const isJson = (response.headers.get('content-type') ?? '').includes('json')
    return { status: response.status, body: isJson && text !== '' ? JSON.parse(text) : text }
  }

  /** @throws Error where the answer is a problem */
  async ok(method: string, path: string, body?: unknown, type?: string): Promise<Answer['body']> {
    const answer = await this.ask(method, path, body, type)
    if (answer.status < 300) return answer.body
    throw new Error(`${method} ${path} → ${answer.status} ${JSON.stringify(answer.body).slice(0, 600)}`)
  }

  async topics(...names: string[]): Promise<void> {
    for (const name of names) await this.ok('POST', '/v1/topics', { name })
  }

  /** Puts `{n}` for each number in partition 0. */
  async feed(topic: string, from: number, count: number, value = (n: number): object => ({ n })): Promise<void> {
    for (let at = from; at < from + count; at += FEED_RECORDS) {
      const numbers = Array.from({ length: Math.min(FEED_RECORDS, from + count - at) }, (_, i) => at + i)
      const records = numbers.map((n) => ({ key: String(n), value: value(n), partition: 0 }))
      await this.ok('POST', `/v1/topics/${topic}/records`, { records })
    }
  }

  /** All records of partition 0, from the start. */
  async records(topic: string): Promise<TopicRecord[]> {
    const all: TopicRecord[] = []
    for (let from = 'earliest'; ; ) {
      const page = await this.ok('GET', `/v1/topics/${topic}/records?partition=0&from=${from}&limit=10000`)
      all.push(...page.records)
      if (page.records.length === 0) return all
      from = `offset:${page.next['0']}`
    }
  }

  /** The same, once there are as many, or more. */
  recordsOnce(topic: string, count: number): Promise<TopicRecord[]> {
    let got = 0
    return until(
      async () => {
        const all = await this.records(topic)
        got = all.length
        return all.length >= count ? all : undefined
      },
      () => `${topic} has ${got} records, not ${count}`,
    )
  }

  /** The pipeline, once its state is the wanted one. */
  state(id: string, wanted: string): Promise<Answer['body']> {
    let seen = ''
    return until(
      async () => {
        const body = await this.ok('GET', `/v1/pipelines/${id}`)
        seen = `${body.state} ${JSON.stringify(body.reason ?? '')}`
        return body.state === wanted ? body : undefined
      },
      () => `${id} is ${seen}, not ${wanted}`,
    )
  }
}

/** Asks until it is answered something. @throws Error after a while */
export async function until<T>(ask: () => Promise<T | undefined> | T | undefined, what = () => 'nothing'): Promise<T> {
  for (const end = Date.now() + UNTIL_MS; ; ) {
    const answer = await ask()
    if (answer !== undefined) return answer
    if (Date.now() > end) throw new Error(`In ${UNTIL_MS / 1000} s: ${what()}`)
    await new Promise((done) => setTimeout(done, 10))
  }
}

/** A whole number below `n`, by a seed. */
export function seeded(seed: number): (n: number) => number {
  let state = seed >>> 0
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 4294967296) * n)
  }
}

/** An HTTP server that a test answers for. */
export function listen(server: Server = createServer()): Promise<{ server: Server; url: string }> {
  return new Promise((done) => {
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      done({ server, url: `http://127.0.0.1:${port}` })
    })
  })
}
