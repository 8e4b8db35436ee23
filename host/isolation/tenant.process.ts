// Entry of a tenant's process: wiring only. Its third descriptor is the pipe to the host; when that closes, it ends.
// Runs on: the tenant's process.

import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net'
import { TenantLoop } from './tenant-loop.ts'

const PIPE = 3
/** Enough frames for the stack of a trap deep in a guest. */
Error.stackTraceLimit = 30

const loop = new TenantLoop(Number(process.argv[2]), (reader) => {
  // Read straight to where frames are cut.
  const onread: OnReadOpts = {
    buffer: () => reader.room(),
    callback: (bytes) => {
      loop.received(bytes)
      return true
    },
  }
  const options: SocketConstructorOpts & { onread: OnReadOpts } = { fd: PIPE, readable: true, writable: true, onread }
  const socket = new Socket(options)
  for (const event of ['end', 'close', 'error']) socket.on(event, () => process.exit(0))
  return socket
})
