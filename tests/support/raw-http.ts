// Bytes to a port and what comes back, where a client would not send such a thing.

import { connect } from 'node:net'

/** Sends the bytes as they are. @returns all that came until there were `answers`, the other side closed, or was silent for `quietMs` */
export function rawHttp(
  port: number,
  bytes: string | Buffer,
  quietMs = 300,
  answers = Number.POSITIVE_INFINITY,
): Promise<string> {
  return new Promise((done) => {
    let answer = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
    const end = (): void => {
      socket.destroy()
      done(answer)
    }
    socket.setTimeout(quietMs, end)
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1')
      if (statuses(answer).length >= answers) end()
    })
    socket.on('error', end)
    socket.on('close', end)
  })
}

/** Status of each answer in a stream of them. */
export const statuses = (answer: string): number[] =>
  [...answer.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]))
