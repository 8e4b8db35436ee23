// One end of the pipe between a host and a tenant's process: one write at a time, made of small frames, a part of a message
// and a batch of each channel in turn, so that a large message does not hold records up.
// Runs on: relay thread and the tenant's process.

import type { Writable } from 'node:stream'
import {
  BATCH_BYTES,
  FRAME_HEADER_BYTES,
  FRAME_MESSAGE,
  FRAME_PART,
  FRAME_RECORDS,
  MalformedFrame,
  PART_BYTES,
  padded,
} from './frames.ts'
import type { Inlet } from './inlet.ts'
import type { Outlet } from './outlet.ts'

/** What is so small is copied: one buffer to write, and its rings have room at once. */
const SMALL_BYTES = 16 << 10
/** Frames that wait besides records: an end that does not read must not cost memory without bound. */
const WAITING_BYTES_MAX = 512 << 20

interface Waiting {
  type: number
  channel: number
  extra: number
  payload: Uint8Array
}

const NOTHING = new Uint8Array(0)
const PADDING = new Uint8Array(8)

export class Pipe {
  readonly outlets = new Map<number, Outlet>()
  readonly inlets = new Map<number, Inlet>()
  /** Called before a batch with a mark leaves. */
  onMark: (outlet: Outlet) => void = () => undefined
  /** Called when a batch that ended its channel was taken. */
  onEnded: (outlet: Outlet) => void = () => undefined
  private readonly socket: Writable
  private readonly small: Waiting[] = []
  private readonly large: Waiting[] = []
  private waitingBytes = 0
  private busy = false
  /** Outlets that may have something to send, each once. */
  private ready: Outlet[] = []
  /** Frames of the write in work: header and payload in turn. */
  private readonly pieces: Uint8Array[] = []
  private piecesBytes = 0
  private readonly borrowed: Outlet[] = []
  private readonly staging = new Uint8Array(SMALL_BYTES + (4 << 10))

  constructor(socket: Writable) {
    this.socket = socket
  }

  /** The outlet may have something to send; `flush` looks. */
  wake(outlet: Outlet): void {
    if (outlet.ready) return
    outlet.ready = true
    this.ready.push(outlet)
  }

  /** A frame that goes before everything else. */
  send(type: number, channel = 0, extra = 0, payload: Uint8Array = NOTHING): void {
    this.count(payload.length)
    this.small.push({ type, channel, extra, payload })
  }

  /** A message, in parts. The bytes are the pipe's until they are written. */
  message(bytes: Uint8Array): void {
    this.count(bytes.length)
    for (let at = 0; at < bytes.length || at === 0; at += PART_BYTES) {
      const last = at + PART_BYTES >= bytes.length
      const payload = bytes.subarray(at, at + PART_BYTES)
      this.large.push({ type: last ? FRAME_MESSAGE : FRAME_PART, channel: 0, extra: 0, payload })
    }
  }

  /** Writes what there is, unless a write is under way. @returns true: something was written // hot */
  flush(): boolean {
    if (this.busy) return false
    if (this.ready.length > 0) this.gatherRecords()
    // Small frames stand before the records of the same write: counters before the mark that they belong to.
    const records = this.pieces.splice(0)
    for (const frame of this.small) this.add(frame.type, frame.channel, frame.extra, frame.payload)
    this.small.length = 0
    const part = this.large.shift()
    if (part) this.add(part.type, 0, 0, part.payload)
    for (const piece of records) this.pieces.push(piece)
    if (this.pieces.length === 0) return false
    this.write()
    return true
  }

  private gatherRecords(): void {
    const waiting = this.ready
    this.ready = []
    let left = BATCH_BYTES
    for (const outlet of waiting) {
      if (left <= 0) {
        this.ready.push(outlet)
        continue
      }
      outlet.ready = false
      const bytes = outlet.next(left)
      if (bytes === 0) continue
      if (outlet.hasMark) this.onMark(outlet)
      this.add(FRAME_RECORDS, outlet.channel, 0, outlet.bytes.subarray(outlet.run.from, outlet.run.to))
      outlet.lend()
      this.borrowed.push(outlet)
      left -= bytes
    }
    // There may be more of them: they are looked at again behind those that had no turn.
    for (const outlet of this.borrowed) this.wake(outlet)
  }

  private add(type: number, channel: number, extra: number, payload: Uint8Array): void {
    const header = new Uint32Array(FRAME_HEADER_BYTES >> 2)
    header[0] = payload.length
    header[1] = type
    header[2] = channel
    header[3] = extra
    this.pieces.push(new Uint8Array(header.buffer))
    this.piecesBytes += FRAME_HEADER_BYTES + padded(payload.length)
    if (payload.length === 0) return
    this.pieces.push(payload)
    if (type !== FRAME_RECORDS) this.waitingBytes -= payload.length
    const rest = padded(payload.length) - payload.length
    if (rest > 0) this.pieces.push(PADDING.subarray(0, rest))
  }

  private write(): void {
    this.busy = true
    const { socket, pieces } = this
    if (this.piecesBytes <= this.staging.length) {
      let at = 0
      for (const piece of pieces) {
        this.staging.set(piece, at)
        at += piece.length
      }
      this.giveBack()
      socket.write(this.staging.subarray(0, at), this.written)
    } else {
      socket.cork()
      const last = pieces.length - 1
      for (let i = 0; i < last; i++) socket.write(pieces[i]!)
      socket.write(pieces[last]!, this.written)
      socket.uncork()
    }
    pieces.length = 0
    this.piecesBytes = 0
  }

  private readonly written = (error?: Error | null): void => {
    this.busy = false
    this.giveBack()
    // Of a pipe that broke the socket itself tells.
    if (!error) this.flush()
  }

  private giveBack(): void {
    for (const outlet of this.borrowed) {
      outlet.sent()
      if (outlet.ended) this.onEnded(outlet)
    }
    this.borrowed.length = 0
  }

  private count(bytes: number): void {
    this.waitingBytes += bytes
    if (this.waitingBytes > WAITING_BYTES_MAX) throw new MalformedFrame('the other side does not read')
  }
}
