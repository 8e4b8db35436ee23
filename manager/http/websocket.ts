// A stream of server-sent events as WebSocket frames: one text frame per record; `{"event":"gap"}` where some are missing.
// Runs on: control. A slow reader holds back the stream it reads, and the host then skips: nothing piles up here.

import type { WSContext, WSEvents } from 'hono/ws'
import { SpqrError } from '../../schemas/errors.ts'
import { problemOf } from '../hosts/problem-of.ts'
import type { ApiContext } from './context.ts'
import { type ServerSentEvent, serverSentEvents } from './server-sent-events.ts'

/** Bytes that may wait in the socket before the stream is read on. */
const WAITING_BYTES_MAX = 1 << 20
const POLL_MS = 10

interface Socket {
  readonly bufferedAmount: number
  readonly readyState: number
}

/**
 * Opens the stream before the connection becomes a WebSocket, so that a refusal is an HTTP answer.
 * @param open the stream of events
 */
export function framesOf(open: (c: ApiContext) => Promise<Response>): (c: ApiContext) => Promise<WSEvents> {
  return async (c) => {
    const response = await open(c)
    if (!response.ok || !response.body) throw await problemOf(response)
    const body = response.body as ReadableStream<Uint8Array>
    const events = serverSentEvents(body)
    let open_ = true
    return {
      onOpen: (_event, socket) => {
        pump(events, socket, () => open_).then(
          () => socket.close(1000, 'the stream ended'),
          (error) => socket.close(1011, SpqrError.from(error).message.slice(0, 100)),
        )
      },
      onClose: () => {
        open_ = false
        void events.return(undefined)
      },
    }
  }
}

async function pump(events: AsyncIterable<ServerSentEvent>, socket: WSContext, isOpen: () => boolean): Promise<void> {
  const raw = socket.raw as Socket
  for await (const { event, data } of events) {
    if (!isOpen()) return
    if (event === 'message') socket.send(data)
    else if (event === 'gap') socket.send('{"event":"gap"}')
    while (isOpen() && raw.bufferedAmount > WAITING_BYTES_MAX) await new Promise((done) => setTimeout(done, POLL_MS))
  }
}
