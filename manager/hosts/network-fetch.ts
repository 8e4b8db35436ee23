// How a host is asked over the network: with the token of its registration, until it is away.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import type { Fetch } from './host-client.ts'

/** Of one connection, not of the answer that came over it. */
const HOP_BY_HOP = ['connection', 'keep-alive', 'transfer-encoding', 'date']

export interface NetworkFetchOptions {
  /** Of the host, for its problems. */
  id: string
  token: string
  /** What ends each request and stream under way: nobody waits for a host that is away. */
  underWay: Set<() => void>
  /** Nothing listens where it was. */
  onGone(): void
}

export function networkFetch({ id, token, underWay, onGone }: NetworkFetchOptions): Fetch {
  return async (request) => {
    const asked = new Request(request)
    asked.headers.set('authorization', `Bearer ${token}`)
    // One each: a signal that all shared would remember every request.
    const controller = new AbortController()
    const end = (): void => controller.abort()
    underWay.add(end)
    let isStream = false
    try {
      const response = await fetch(asked, { redirect: 'error', signal: controller.signal })
      const { status, body } = response
      const headers = new Headers(response.headers)
      for (const name of HOP_BY_HOP) headers.delete(name)
      isStream = body !== null && (headers.get('content-type') ?? '').startsWith('text/event-stream')
      if (!isStream) return new Response(body, { status, headers })
      const events = body as ReadableStream<Uint8Array>
      return new Response(
        endingWithHost(events, () => underWay.delete(end)),
        { status, headers },
      )
    } catch (error) {
      const cause = (error as Error).cause ?? error
      const why = (cause as NodeJS.ErrnoException).code ?? (cause as Error).message
      if (why === 'ECONNREFUSED') onGone()
      const said = why === 'ECONNREFUSED' ? 'nothing was done' : 'what was asked may have been done or not'
      const message = `The host "${id}" gave no answer (${why}): ${said}; see whether it runs, and try again.`
      throw new SpqrError('TRANSPORT_UNAVAILABLE', message, { retriable: true, cause: error })
    } finally {
      if (!isStream) underWay.delete(end)
    }
  }
}

/**
 * A stream of events that ends where the host does: its reader asks again, from the last event it saw.
 * @param onEnd whichever side ended it
 */
function endingWithHost(body: ReadableStream<Uint8Array>, onEnd: () => void): ReadableStream<Uint8Array> {
  const reader = body.getReader()
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const next = await reader.read().catch(() => undefined)
      if (next && !next.done) {
        controller.enqueue(next.value)
        return
      }
      onEnd()
      controller.close()
    },
    cancel(reason) {
      onEnd()
      return reader.cancel(reason)
    },
  })
}
