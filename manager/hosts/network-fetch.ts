// How a host is asked over the network: with the token of its registration, until it is away.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import type { Fetch } from './host-client.ts'

/** Of one connection, not of the answer that came over it. */
const HOP_BY_HOP = ['connection', 'keep-alive', 'transfer-encoding', 'date']

/**
 * @param id of the host, for its problems
 * @param end what is under way ends with it: nobody waits for a host that is away
 * @param onGone nothing listens where it was
 */
export function networkFetch(id: string, token: string, end: () => AbortSignal, onGone: () => void): Fetch {
  return async (request) => {
    const asked = new Request(request)
    asked.headers.set('authorization', `Bearer ${token}`)
    try {
      const response = await fetch(asked, { redirect: 'error', signal: AbortSignal.any([request.signal, end()]) })
      const headers = new Headers(response.headers)
      for (const name of HOP_BY_HOP) headers.delete(name)
      const isStream = headers.get('content-type')?.startsWith('text/event-stream') && response.body
      const body = isStream ? endingWithHost(response.body as ReadableStream<Uint8Array>) : response.body
      return new Response(body, { status: response.status, headers })
    } catch (error) {
      const cause = (error as Error).cause ?? error
      const why = (cause as NodeJS.ErrnoException).code ?? (cause as Error).message
      if (why === 'ECONNREFUSED') onGone()
      const said = why === 'ECONNREFUSED' ? 'nothing was done' : 'what was asked may have been done or not'
      const message = `The host "${id}" gave no answer (${why}): ${said}; see whether it runs, and try again.`
      throw new SpqrError('TRANSPORT_UNAVAILABLE', message, { retriable: true, cause: error })
    }
  }
}

/** A stream of events that ends where the host does: its reader asks again, from the last event it saw. */
function endingWithHost(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  const reader = body.getReader()
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read()
        if (done) controller.close()
        else controller.enqueue(value)
      } catch {
        controller.close()
      }
    },
    cancel: (reason) => reader.cancel(reason),
  })
}
