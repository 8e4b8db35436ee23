// The emitter `http`: posts batches of records as NDJSON, one request at a time, so that order is kept. What is refused
// for good goes to dead letters.
// Runs on: bridge.

import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { LookupFunction } from 'node:net'
import { SpqrError } from '../../schemas/errors.ts'
import { RecordBuffer } from '../record/record.ts'
import { Backoff } from './backoff.ts'
import type { BridgeContext, Emitter, EmitterType } from './bridge.ts'
import { Flushes } from './flushes.ts'
import { RecordReader } from './record-reader.ts'
import { ndjsonBytes } from './record-text.ts'

interface Settings {
  url: string
  headers?: Record<string, string>
  batchRecords?: number
  batchMs?: number
  retries?: number
  timeoutMs?: number
}

/** A batch is closed at this size, whatever its number of records. */
const BATCH_BYTES_MAX = 4 << 20
const WAITING_BYTES_MAX = 8 << 20
/** Of an answer so much is shown, and so much is looked at for what was sent. */
const ANSWER_SHOWN = 200
const ANSWER_BYTES_READ = 8 << 10
/** Shorter parts of what was sent are no secrets. */
const SECRET_LENGTH_MIN = 6
const ANSWER_BYTES_MAX = 64 << 10
/** Ours to set. */
const OWN_HEADERS = ['host', 'content-length', 'transfer-encoding', 'connection', 'upgrade', 'expect', 'te', 'trailer']

interface Batch {
  frames: Uint8Array
  records: number
}

/** Why one attempt failed. */
class Refusal extends Error {
  readonly again: boolean
  constructor(message: string, again: boolean) {
    super(message)
    this.again = again
  }
}

export class HttpEmitter implements Emitter {
  readonly #context: BridgeContext
  #settings: Settings
  readonly #url: URL
  readonly #agent: HttpAgent | HttpsAgent
  readonly #lookup: LookupFunction
  readonly #gathering = new RecordBuffer()
  readonly #closed: Batch[] = []
  readonly #records = new RecordReader()
  #waitingBytes = 0
  #isFull = false
  #isSending = false
  #stopped = false
  #batchTimer: NodeJS.Timeout | undefined
  readonly #abort = new AbortController()
  readonly #flushes = new Flushes()

  constructor(settings: Settings, context: BridgeContext) {
    this.#settings = settings
    this.#context = context
    this.#url = checkedUrl(settings)
    const permissions = context.permissions.askedBy(
      `component "${context.component}" of pipeline "${context.pipeline}"`,
    )
    const port = portOf(this.#url)
    permissions.checkNet(this.#url.hostname, port)
    this.#lookup = permissions.netLookup(port)
    const options = { keepAlive: true, maxSockets: 1 }
    this.#agent = this.#url.protocol === 'https:' ? new HttpsAgent(options) : new HttpAgent(options)
  }

  async open(): Promise<void> {
    const { hostname } = this.#url
    await new Promise<void>((done, fail) => {
      // Asked now so that a forbidden address is refused with the document, not at the first record.
      this.#lookup(hostname.replace(/^\[|\]$/g, ''), { all: true }, (error) => {
        if (error instanceof SpqrError) fail(error)
        else {
          if (error)
            this.#context.report(
              new SpqrError('INTERNAL', `Cannot find the host of "${this.#shownUrl}" now: ${error.message}.`, {
                cause: error,
              }),
            )
          done()
        }
      })
    })
  }

  write(bytes: Uint8Array, from: number, to: number): number {
    const records = this.#records
    const batchRecords = this.#settings.batchRecords ?? 500
    records.set(bytes, from, to)
    let taken = from
    while (taken < to) {
      if (this.#waitingBytes + this.#gathering.length >= WAITING_BYTES_MAX) {
        this.#isFull = true
        break
      }
      records.next()
      this.#gathering.append(bytes, taken, records.nextAt, 1)
      taken = records.nextAt
      if (this.#gathering.records >= batchRecords || this.#gathering.length >= BATCH_BYTES_MAX) this.#close()
    }
    if (this.#gathering.records > 0) this.#batchTimer ??= setTimeout(() => this.#close(), this.#settings.batchMs ?? 100)
    return taken - from
  }

  flush(): Promise<unknown> {
    this.#close()
    return this.#flushes.wait()
  }

  configure(settings: Record<string, unknown>): boolean {
    const wanted = settings as unknown as Settings
    if (wanted.url !== this.#settings.url) return false
    checkedUrl(wanted)
    this.#settings = wanted
    return true
  }

  stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#batchTimer)
    this.#abort.abort()
    this.#agent.destroy()
    const message = `The emitter was stopped before it posted all to "${this.#shownUrl}".`
    this.#flushes.stop(new SpqrError('INVALID_STATE', message))
    return Promise.resolve()
  }

  #close(): void {
    clearTimeout(this.#batchTimer)
    this.#batchTimer = undefined
    const { records, length } = this.#gathering
    if (records === 0 || this.#stopped) return
    this.#closed.push({ frames: this.#gathering.bytes.slice(0, length), records })
    this.#flushes.closed()
    this.#waitingBytes += length
    this.#gathering.clear()
    this.#send()
  }

  #send(): void {
    if (this.#isSending || this.#stopped) return
    const batch = this.#closed.shift()
    if (!batch) return
    this.#isSending = true
    this.#deliver(batch).then(
      () => {
        this.#isSending = false
        if (this.#stopped) return
        this.#waitingBytes -= batch.frames.length
        this.#flushes.delivered()
        if (this.#isFull) {
          this.#isFull = false
          this.#context.ready()
        }
        this.#send()
      },
      (error: unknown) => this.#context.fail(SpqrError.from(error)),
    )
  }

  /** Posts a batch until it was taken or given up. */
  async #deliver(batch: Batch): Promise<void> {
    const body = ndjsonBytes(batch.frames)
    const backoff = new Backoff()
    const { retries = 5 } = this.#settings
    for (let attempt = 0; !this.#stopped; attempt++) {
      try {
        await this.#post(body)
        return
      } catch (thrown) {
        if (this.#stopped) return
        const { message } = thrown as Error
        const again = !(thrown instanceof Refusal) || thrown.again
        const isLast = !again || attempt >= retries
        const cause = thrown instanceof SpqrError ? thrown.code : 'INTERNAL'
        const ending = isLast ? `; ${batch.records} records go to dead letters` : ''
        this.#context.report(
          new SpqrError(cause, `Cannot post to "${this.#shownUrl}": ${message}${ending}.`, { cause: thrown }),
        )
        if (isLast) {
          this.#giveUp(batch, new SpqrError(cause, `Cannot post to "${this.#shownUrl}": ${message}.`))
          return
        }
        await new Promise<void>((done) => {
          const timer = setTimeout(done, backoff.next())
          this.#abort.signal.addEventListener(
            'abort',
            () => {
              clearTimeout(timer)
              done()
            },
            { once: true },
          )
        })
      }
    }
  }

  #giveUp({ frames }: Batch, error: SpqrError): void {
    const records = new RecordReader()
    records.set(frames, 0, frames.length)
    while (records.next())
      this.#context.deadLetter(error, { key: records.key(), value: records.value() }, records.sourceOffset)
  }

  /** One attempt. @throws Refusal, SpqrError PERMISSION_DENIED, errors of the connection */
  #post(body: Buffer): Promise<void> {
    const { headers, timeoutMs = 10_000 } = this.#settings
    const send = this.#url.protocol === 'https:' ? httpsRequest : httpRequest
    return new Promise((done, fail) => {
      const request = send(this.#url, {
        method: 'POST',
        agent: this.#agent,
        lookup: this.#lookup,
        signal: this.#abort.signal,
        headers: {
          'content-type': 'application/x-ndjson',
          'user-agent': 'spqr',
          ...headers,
          'content-length': body.length,
        },
      })
      const timer = setTimeout(() => request.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
      request.on('error', fail)
      request.on('close', () => clearTimeout(timer))
      request.on('response', (response) => {
        readAnswer(response).then((text) => {
          // Cut last: half of a secret would not be found.
          const shown = this.#withoutSecrets(text).slice(0, ANSWER_SHOWN).trim()
          const refusal = judge(response.statusCode ?? 0, shown)
          if (refusal) fail(refusal)
          else done()
        }, fail)
      })
      request.end(body)
    })
  }

  /** Without what may be secret in it: a path is, of many hooks. */
  get #shownUrl(): string {
    return this.#url.origin
  }

  /** What the other side says may repeat what it was sent. */
  #withoutSecrets(text: string): string {
    const { pathname, search, username, password } = this.#url
    const login = `${plain(username)}:${plain(password)}`
    const headers = Object.values(this.#settings.headers ?? {}).flatMap((value) => [value, ...value.split(/[\s,;:=]+/)])
    // Plain words of an address are words of the answer as well.
    const steps = `${pathname}/${search}`.split(/[/?&=]+/).filter((step) => !/^[a-z_-]*$/.test(step))
    const sent = [...headers, pathname, search.slice(1), ...steps, username, password, login]
    return [...sent, ...sent.map(plain), Buffer.from(login).toString('base64')]
      .filter((part) => part.length >= SECRET_LENGTH_MIN)
      .sort((a, b) => b.length - a.length)
      .reduce((shown, part) => shown.replaceAll(part, '…'), text)
  }
}

/** What percent signs stand for, where they stand for something. */
function plain(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** @returns undefined where the batch was taken */
function judge(status: number, text: string): Refusal | undefined {
  if (status >= 200 && status < 300) return undefined
  const shown = text === '' ? '' : `: ${text}`
  if (status >= 300 && status < 400) return new Refusal(`it answered ${status}, and redirects are not followed`, false)
  return new Refusal(`it answered ${status}${shown}`, status >= 500 || status === 408 || status === 429)
}

async function readAnswer(response: IncomingMessage): Promise<string> {
  let shown = Buffer.alloc(0)
  let bytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (shown.length < ANSWER_BYTES_READ) shown = Buffer.concat([shown, chunk])
    // An answer without end costs the connection, not the memory.
    if (bytes > ANSWER_BYTES_MAX) break
  }
  return shown.toString('utf8', 0, ANSWER_BYTES_READ).replace(/\p{Cc}+/gu, ' ')
}

function portOf(url: URL): number {
  if (url.port !== '') return Number(url.port)
  return url.protocol === 'https:' ? 443 : 80
}

/** @throws SpqrError INVALID_DOCUMENT with the pointer of each setting that cannot be used */
function checkedUrl({ url, headers }: Settings): URL {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  const issues: { pointer: string; message: string }[] = []
  if (!parsed) issues.push({ pointer: '/url', message: 'is no URL' })
  else if (parsed.protocol !== 'http:' && parsed.protocol !== 'https:') {
    issues.push({ pointer: '/url', message: `must begin with http:// or https://, not ${parsed.protocol}` })
  }
  for (const name of Object.keys(headers ?? {})) {
    if (OWN_HEADERS.includes(name.toLowerCase()))
      issues.push({ pointer: `/headers/${name}`, message: `"${name}" is set by the host` })
  }
  if (parsed && issues.length === 0) return parsed
  throw new SpqrError(
    'INVALID_DOCUMENT',
    `Cannot post there: ${issues.map((i) => `${i.pointer} ${i.message}`).join('; ')}.`,
    { issues },
  )
}

export const httpEmitter: EmitterType = {
  create: (settings, context) => new HttpEmitter(settings as unknown as Settings, context),
}
