// Request bodies, each within its limit; a longer one is refused before it is held in memory.
// Runs on: control.

import type { IncomingMessage } from 'node:http'
import { SpqrError } from '../../schemas/errors.ts'
import type { ApiContext } from './context.ts'

export const BODY_BYTES_MAX = 1 << 20
export const RECORDS_BYTES_MAX = 16 << 20
export const WASM_BYTES_MAX = 4 << 20

/** What is read and thrown away of a body that is too large, so that the refusal reaches who is still sending. */
const REST_BYTES_MAX = 64 << 20
const REST_MS_MAX = 2000

const NOTHING = new Uint8Array(0)

/**
 * The whole body.
 * @throws SpqrError TOO_LARGE above `bytesMax`; UNSUPPORTED_MEDIA_TYPE where it is compressed; INVALID_BODY where the
 *   sender gave up
 */
export async function bodyBytes(c: ApiContext, bytesMax: number): Promise<Uint8Array<ArrayBuffer>> {
  const encoding = c.req.header('content-encoding')
  if (encoding !== undefined && encoding.trim().toLowerCase() !== 'identity') {
    const message = `Cannot read a body with Content-Encoding "${encoding.slice(0, 100)}": send it uncompressed.`
    throw new SpqrError('UNSUPPORTED_MEDIA_TYPE', message)
  }
  const length = c.req.header('content-length')
  // With a length Node ends the body there; without one it is counted while it comes.
  if (length !== undefined) {
    if (Number(length) > bytesMax) {
      await dropRest((c.req.raw.body as ReadableStream<Uint8Array> | null)?.getReader())
      throw tooLarge(bytesMax)
    }
    // A turn in which the parser gets past what came in one piece with the headers.
    await undefined
    const bytes = arrived(c) ?? new Uint8Array(await received(c.req.arrayBuffer()))
    if (bytes.length > bytesMax) throw tooLarge(bytesMax)
    return bytes
  }
  const stream = c.req.raw.body as ReadableStream<Uint8Array> | null
  if (!stream) return NOTHING
  return received(collect(stream, bytesMax))
}

/** The body where the whole of it is here, as a small one is: taken from Node as it stands, without a stream's events. */
function arrived(c: ApiContext): Uint8Array<ArrayBuffer> | undefined {
  const { incoming } = (c.env ?? {}) as { incoming?: IncomingMessage }
  if (!incoming?.complete || incoming.readableDidRead || c.req.raw.bodyUsed) return undefined
  const bytes = incoming.read() as Buffer | null
  return bytes === null ? NOTHING : new Uint8Array(bytes)
}

async function collect(stream: ReadableStream<Uint8Array>, bytesMax: number): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  const reader = stream.getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    bytes += value.length
    if (bytes > bytesMax) {
      await dropRest(reader)
      throw tooLarge(bytesMax)
    }
    chunks.push(value)
  }
  const all = new Uint8Array(bytes)
  let at = 0
  for (const chunk of chunks) {
    all.set(chunk, at)
    at += chunk.length
  }
  return all
}

/** A connection that is closed with bytes on their way takes the answer with it: some of them are let in, for some time. */
async function dropRest(reader: ReadableStreamDefaultReader<Uint8Array> | undefined): Promise<void> {
  if (!reader) return
  const late = setTimeout(() => void reader.cancel().catch(() => undefined), REST_MS_MAX)
  try {
    let bytes = 0
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      bytes += value.length
      if (bytes > REST_BYTES_MAX) return void (await reader.cancel())
    }
  } catch {
    // Who sent it is gone.
  } finally {
    clearTimeout(late)
  }
}

async function received<T>(body: Promise<T>): Promise<T> {
  try {
    return await body
  } catch (error) {
    if (error instanceof SpqrError) throw error
    throw new SpqrError('INVALID_BODY', 'Cannot read the body: the connection ended within it.', { cause: error })
  }
}

function tooLarge(bytesMax: number): SpqrError {
  const limit = bytesMax >= 1 << 20 ? `${bytesMax >> 20} MiB` : `${bytesMax >> 10} KiB`
  return new SpqrError('TOO_LARGE', `The body is larger than the limit of ${limit}; send it in parts.`)
}

/** The content type without its parameters, in lower case; '' where there is none. */
export function mediaType(c: ApiContext): string {
  return (c.req.header('content-type') ?? '').split(';', 1)[0]!.trim().toLowerCase()
}

/** @throws SpqrError UNSUPPORTED_MEDIA_TYPE, naming what is accepted */
export function wrongType(c: ApiContext, accepted: string): SpqrError {
  const given = mediaType(c)
  return new SpqrError(
    'UNSUPPORTED_MEDIA_TYPE',
    `${given ? `"${given.slice(0, 100)}" is not read here` : 'The body has no Content-Type'}: send ${accepted}.`,
  )
}
