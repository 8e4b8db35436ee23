// A host's stream of WebSocket frames, to a reader: one text frame per record; `{"event":"gap"}` where some are missing. The host
// makes the frames once for all readers; here they are only written, whole ones, between what the WebSocket itself says.
// Runs on: control. A slow reader holds back the stream it reads, and the host then skips: nothing piles up here.

import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { WSContext, WSEvents } from 'hono/ws'
import { SpqrError } from '../../schemas/errors.ts'
import { FRAMES_TYPE } from '../../schemas/reader-form.ts'
import { problemOf } from '../hosts/problem-of.ts'
import type { ApiContext } from './context.ts'
import { WholeFrames } from './whole-frames.ts'

const OPEN = 1
/** Headers of a request that asks a host for frames. */
const WANTED = { accept: FRAMES_TYPE }

/**
 * Opens the stream before the connection becomes a WebSocket, so that a refusal is an HTTP answer.
 * @param open asks a host for the stream, with these headers
 */
export function framesOf(
  open: (c: ApiContext, headers: Record<string, string>) => Promise<Response>,
): (c: ApiContext) => Promise<WSEvents> {
  return async (c) => {
    const response = await open(c, WANTED)
    if (!response.ok || !response.body) throw await problemOf(response)
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    const { socket } = (c.env as unknown as { incoming: IncomingMessage }).incoming
    return {
      onOpen: (_event, context) => {
        pump(reader, context, socket).then(
          () => context.close(1000, 'the stream ended'),
          (error) => context.close(1011, SpqrError.from(error).message.slice(0, 100)),
        )
      },
      onClose: () => {
        void reader.cancel().catch(() => undefined)
      },
    }
  }
}

/** Frames go to the connection itself: nothing is compressed, so the WebSocket writes there too, whole frames at once. */
async function pump(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  context: WSContext,
  socket: Socket,
): Promise<void> {
  const frames = new WholeFrames()
  for (;;) {
    const { done, value } = await reader.read()
    if (done || context.readyState !== OPEN) return
    const whole = frames.add(value)
    if (whole.length > 0 && !socket.write(whole)) await freeOf(socket)
  }
}

/** Resolves when the connection takes more, or is closed. */
function freeOf(socket: Socket): Promise<void> {
  return new Promise((done) => {
    const end = (): void => {
      socket.off('drain', end).off('close', end)
      done()
    }
    socket.once('drain', end).once('close', end)
  })
}
