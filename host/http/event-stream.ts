// Server-sent events, or frames of WebSocket, from a source that must never wait for a slow reader.
// Runs on: control.

import { FRAMES_TYPE, type ReaderForm } from '../../schemas/reader-form.ts'

/** What a stream writes to, several events at once; `false` from `push`: the reader is behind. */
export interface EventWriter {
  /** @returns false: the reader has not taken what it was sent; `onReady` follows */
  push(events: string | Uint8Array): boolean
  close(): void
}

const TYPES = { events: 'text/event-stream; charset=utf-8', frames: FRAMES_TYPE }
/** Sent and not taken by the reader, at most. */
const BUFFERED_BYTES_MAX = 1 << 20
const BEAT_MS = 15_000

const encoder = new TextEncoder()
/** What says nothing: sends the head at once, so that the reader knows it is heard, and shows later whether it is still there. */
const BEATS = { events: encoder.encode(': beat\n\n'), frames: Uint8Array.of(0x89, 0) }

/** One event; `data` has no line breaks. */
export function eventText(data: string, fields: { event?: string; id?: string } = {}): string {
  const event = fields.event ? `event: ${fields.event}\n` : ''
  const id = fields.id ? `id: ${fields.id}\n` : ''
  return `${event}${id}data: ${data}\n\n`
}

/**
 * Answers with a stream of events.
 * @param begin starts the source and @returns what ends it
 * @param onReady the reader took everything
 */
export function eventStream(
  begin: (writer: EventWriter) => (() => void) | Promise<() => void>,
  onReady: () => void = () => undefined,
  form: ReaderForm = 'events',
): Promise<Response> {
  const headers = { 'content-type': TYPES[form], 'cache-control': 'no-store' }
  let end: (() => void) | undefined
  let beat: NodeJS.Timeout | undefined
  let closed = false
  const stop = (): void => {
    closed = true
    clearInterval(beat)
    end?.()
    end = undefined
  }
  return new Promise((done, failed) => {
    const stream = new ReadableStream<Uint8Array>(
      {
        async start(controller) {
          const writer: EventWriter = {
            push(events) {
              if (closed) return false
              controller.enqueue(typeof events === 'string' ? encoder.encode(events) : events)
              return (controller.desiredSize ?? 0) > 0
            },
            close() {
              if (closed) return
              stop()
              controller.close()
            },
          }
          try {
            controller.enqueue(BEATS[form])
            end = await begin(writer)
            if (closed) end()
            beat = setInterval(() => writer.push(BEATS[form]), BEAT_MS)
            beat.unref()
            if (closed) clearInterval(beat)
            done(new Response(stream, { headers }))
          } catch (thrown) {
            closed = true
            failed(thrown)
          }
        },
        pull: () => onReady(),
        cancel: stop,
      },
      { highWaterMark: BUFFERED_BYTES_MAX, size: (chunk) => chunk?.byteLength ?? 0 },
    )
  })
}
