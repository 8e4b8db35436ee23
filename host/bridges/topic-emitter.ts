// The emitter `topic`: appends to a topic, one append at a time for each partition, while further records gather; order
// is kept, what failed for a while is tried again.
// Runs on: bridge.

import { SpqrError } from '../../schemas/errors.ts'
import { deadLetterTopic } from '../../schemas/names.ts'
import { SpanPath } from '../record/json-span.ts'
import {
  FLAG_KEY,
  FLAG_TOMBSTONE,
  RECORD_FLAGS,
  RECORD_HEADER_BYTES,
  RECORD_HEADERS_BYTES,
  RECORD_KEY_BYTES,
  RECORD_LENGTH,
  RECORD_TIMESTAMP,
  RECORD_VALUE_BYTES,
  RecordBuffer,
  readI64,
} from '../record/record.ts'
import { StickyPartitioner } from '../transport/partitioner.ts'
import type { BridgeContext, Emitter, EmitterType } from './bridge.ts'
import { bridgeTopic, existingTopic } from './bridge-topic.ts'
import { pathSteps } from './framing/json-path.ts'
import { TopicLane } from './topic-lane.ts'

interface Settings {
  topic: string
  keyPath?: string
}

/** Bytes that wait for all partitions; above, `write` takes no more. */
const WAITING_BYTES_MAX = 8 << 20
const QUOTE = 34
const BACKSLASH = 92
const KEY_BYTES_SHORT = 64
/** By length: keys are looked at in memory of their exact size, made once for all emitters of the thread. */
const shortKeys = Array.from({ length: KEY_BYTES_SHORT + 1 }, (_, bytes) => new Uint8Array(bytes))

export class TopicEmitter implements Emitter {
  readonly #context: BridgeContext
  #settings: Settings
  readonly #topic: string
  #keyPath: SpanPath | undefined
  #partitioner = new StickyPartitioner(1)
  #lanes: TopicLane[] = []
  /** `write` said no. */
  #isFull = false
  /** The record with its new key, where `keyPath` gives one. */
  readonly #keyed = new RecordBuffer(0)

  constructor(settings: Settings, context: BridgeContext) {
    this.#context = context
    this.#settings = settings
    this.#topic = bridgeTopic(context, settings.topic)
    this.#keyPath = keyPathOf(settings)
  }

  async open(): Promise<void> {
    const { topic } = this.#settings
    // A pipeline's dead letters are made on the first write.
    const isLetters = topic === deadLetterTopic(this.#context.pipeline)
    const partitions = isLetters ? 1 : (await existingTopic(this.#context, topic, this.#topic)).partitions
    this.#partitioner = new StickyPartitioner(partitions)
    this.#lanes = Array.from({ length: partitions }, (_, partition) => {
      return new TopicLane(this.#context, this.#topic, partition, isLetters, () => this.#delivered())
    })
  }

  write(bytes: Uint8Array, from: number, to: number): number {
    if (this.#waitingBytes() >= WAITING_BYTES_MAX) {
      this.#isFull = true
      return 0
    }
    const transaction = this.#context.transaction()
    for (const lane of this.#lanes) lane.begin(transaction)
    if (this.#keyPath) this.#addKeyed(bytes, from, to, this.#keyPath)
    else this.#add(bytes, from, to)
    for (const lane of this.#lanes) lane.send()
    return to - from
  }

  async flush(): Promise<unknown> {
    await Promise.all(this.#lanes.map((lane) => lane.flush()))
    return undefined
  }

  configure(settings: Record<string, unknown>): boolean {
    const wanted = settings as unknown as Settings
    if (wanted.topic !== this.#settings.topic) return false
    this.#keyPath = keyPathOf(wanted)
    this.#settings = wanted
    return true
  }

  stop(): Promise<void> {
    for (const lane of this.#lanes) lane.stop()
    return Promise.resolve()
  }

  // hot
  #add(bytes: Uint8Array, from: number, to: number): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const isOne = this.#lanes.length === 1
    // Neighbours that go to the same partition are copied at once.
    let runAt = from
    let runRecords = 0
    let runLane = 0
    for (let at = from; at < to; ) {
      const length = view.getUint32(at + RECORD_LENGTH, true)
      const lane = isOne ? 0 : this.#partitionOf(bytes, view, at, length)
      if (lane !== runLane) {
        if (runRecords > 0) this.#lanes[runLane]!.add(bytes, runAt, at, runRecords)
        runAt = at
        runRecords = 0
        runLane = lane
      }
      runRecords++
      at += length
    }
    if (runRecords > 0) this.#lanes[runLane]!.add(bytes, runAt, to, runRecords)
  }

  /** Each record gets the value at the path as its key; none where the path is missing. */
  #addKeyed(bytes: Uint8Array, from: number, to: number, path: SpanPath): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const out = this.#keyed
    let length = 0
    for (let at = from; at < to; at += length) {
      length = view.getUint32(at + RECORD_LENGTH, true)
      const headersAt = at + RECORD_HEADER_BYTES + view.getUint32(at + RECORD_KEY_BYTES, true)
      const headersBytes = view.getUint32(at + RECORD_HEADERS_BYTES, true)
      const valueAt = headersAt + headersBytes
      const valueBytes = view.getUint32(at + RECORD_VALUE_BYTES, true)
      const isTombstone = (bytes[at + RECORD_FLAGS]! & FLAG_TOMBSTONE) !== 0
      const keyAt = isTombstone ? -1 : path.find(bytes, valueAt, valueAt + valueBytes)
      const key = keyAt < 0 ? undefined : keyText(bytes, keyAt, path.end)
      out.clear()
      let target = out.begin(
        key?.length ?? -1,
        headersBytes,
        isTombstone ? -1 : valueBytes,
        readI64(view, at + RECORD_TIMESTAMP),
      )
      if (key) out.bytes.set(key, target)
      target += key?.length ?? 0
      out.bytes.set(bytes.subarray(headersAt, valueAt + valueBytes), target)
      if (out.length > this.#context.recordBytesMax) {
        const message = `Cannot give the record its key: it would have ${out.length} bytes, ${this.#context.recordBytesMax} are allowed.`
        this.#context.deadLetter(
          new SpqrError('RECORD_TOO_LARGE', message),
          { value: bytes.slice(valueAt, valueAt + valueBytes) },
          0,
        )
        continue
      }
      const partition = this.#lanes.length === 1 ? 0 : this.#partitioner.choose(key, out.length)
      this.#lanes[partition]!.add(out.bytes, 0, out.length, 1)
    }
  }

  #partitionOf(bytes: Uint8Array, view: DataView, at: number, length: number): number {
    if ((bytes[at + RECORD_FLAGS]! & FLAG_KEY) === 0) return this.#partitioner.choose(undefined, length)
    const keyBytes = view.getUint32(at + RECORD_KEY_BYTES, true)
    const keyAt = at + RECORD_HEADER_BYTES
    if (keyBytes > KEY_BYTES_SHORT) return this.#partitioner.choose(bytes.subarray(keyAt, keyAt + keyBytes), length)
    const key = shortKeys[keyBytes]!
    for (let i = 0; i < keyBytes; i++) key[i] = bytes[keyAt + i]!
    return this.#partitioner.choose(key, length)
  }

  #waitingBytes(): number {
    let bytes = 0
    for (const lane of this.#lanes) bytes += lane.waitingBytes
    return bytes
  }

  #delivered(): void {
    if (!this.#isFull || this.#waitingBytes() >= WAITING_BYTES_MAX) return
    this.#isFull = false
    this.#context.ready()
  }
}

function keyPathOf({ keyPath }: Settings): SpanPath | undefined {
  return keyPath === undefined ? undefined : new SpanPath(pathSteps(keyPath, 'keyPath'))
}

const decoder = new TextDecoder()
const encoder = new TextEncoder()

/** A string's characters; anything else as it is written. */
function keyText(bytes: Uint8Array, from: number, to: number): Uint8Array {
  if (bytes[from] !== QUOTE) return bytes.subarray(from, to)
  if (bytes.subarray(from, to).indexOf(BACKSLASH) < 0) return bytes.subarray(from + 1, to - 1)
  try {
    return encoder.encode(JSON.parse(decoder.decode(bytes.subarray(from, to))) as string)
  } catch {
    return bytes.subarray(from + 1, to - 1)
  }
}

export const topicEmitter: EmitterType = {
  create: (settings, context) => new TopicEmitter(settings as unknown as Settings, context),
}
