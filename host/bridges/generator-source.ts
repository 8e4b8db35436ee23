// The source `generator`: records made from a template, at a rate or as fast as they are taken; the same seed gives the
// same records, also after a restart.
// Runs on: bridge. Owns the chunk it hands out.

import { randomBytes } from 'node:crypto'
import { SpqrError } from '../../schemas/errors.ts'
import { RECORD_HEADER_BYTES, RECORD_SOURCE_OFFSET, RecordBuffer, recordBytes, writeU64 } from '../record/record.ts'
import { type BridgeContext, type Chunk, ENDED, type Source, type SourceType, WAIT } from './bridge.ts'
import { Pacer } from './pacer.ts'
import { Random, type RandomState } from './random.ts'
import { Template } from './template.ts'

interface Settings {
  template: unknown
  recordsPerSecond?: number
  /** Ends after so many. */
  count?: number
  seed?: number
}

interface Position {
  /** Records made so far. */
  seq: number
  rng: RandomState
  /** Of the settings then: another one gives other records from here on. */
  seed?: number
}

const CHUNK_BYTES = 256 << 10

export class GeneratorSource implements Source {
  #settings: Settings
  readonly #context: BridgeContext
  readonly #template: Template
  readonly #chunk = new RecordBuffer()
  #random: Random
  #pacer: Pacer | undefined
  #timer: NodeJS.Timeout | undefined
  #made = 0
  #count: number

  constructor(settings: Settings, context: BridgeContext) {
    this.#settings = settings
    this.#context = context
    this.#template = Template.compile(settings.template)
    this.#random = Random.seeded(settings.seed ?? randomBytes(6).readUIntLE(0, 6))
    this.#count = settings.count ?? Number.POSITIVE_INFINITY
    const bytes = recordBytes(0, 0, this.#template.bytesMax)
    if (bytes > context.recordBytesMax) {
      throw new SpqrError(
        'INVALID_DOCUMENT',
        `Cannot use the template: a record of it may have ${bytes} bytes, ${context.recordBytesMax} are allowed.`,
        {
          issues: [
            {
              pointer: '/template',
              message: `a record may have ${bytes} bytes, ${context.recordBytesMax} are allowed`,
            },
          ],
        },
      )
    }
  }

  open(position: unknown): Promise<void> {
    if (position !== undefined) {
      const { seq, rng, seed } = position as Position
      this.#made = seq
      if (seed === this.#settings.seed) this.#random = Random.restored(rng)
    }
    const rate = this.#settings.recordsPerSecond
    if (rate !== undefined) this.#pacer = new Pacer(rate, performance.now())
    return Promise.resolve()
  }

  pull(): Chunk | typeof WAIT | typeof ENDED {
    const left = this.#count - this.#made
    if (left <= 0) return ENDED
    let wanted = left
    if (this.#pacer) {
      const now = performance.now()
      const due = this.#pacer.due(now)
      if (due === 0) {
        this.#wake(this.#pacer.waitMs(now))
        return WAIT
      }
      wanted = Math.min(left, due)
    }
    const records = this.#fill(wanted)
    this.#pacer?.took(records)
    const position: Position = { seq: this.#made, rng: this.#random.state, seed: this.#settings.seed }
    return { bytes: this.#chunk.bytes, from: 0, to: this.#chunk.length, records, position }
  }

  /** A new rate or count holds at once; anything else asks for a new source. */
  configure(settings: Record<string, unknown>): boolean {
    const wanted = settings as unknown as Settings
    const rest = (s: Settings): string => JSON.stringify([s.template, s.seed])
    if (rest(wanted) !== rest(this.#settings)) return false
    this.#settings = wanted
    this.#count = wanted.count ?? Number.POSITIVE_INFINITY
    if (wanted.recordsPerSecond === undefined) this.#pacer = undefined
    else if (this.#pacer) this.#pacer.setRate(wanted.recordsPerSecond)
    else this.#pacer = new Pacer(wanted.recordsPerSecond, performance.now())
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#context.ready()
    return true
  }

  stop(): Promise<void> {
    clearTimeout(this.#timer)
    return Promise.resolve()
  }

  // hot
  #fill(wanted: number): number {
    const chunk = this.#chunk
    const template = this.#template
    const room = template.bytesMax + RECORD_HEADER_BYTES + 8
    const now = Date.now()
    chunk.clear()
    let n = this.#made
    while (chunk.records < wanted && chunk.length < CHUNK_BYTES) {
      // The value goes where `begin` will put it: it is not known before how long it gets.
      chunk.reserve(room)
      const start = chunk.length
      const at = start + RECORD_HEADER_BYTES
      const end = template.write(chunk.bytes, at, n, now, this.#random)
      chunk.begin(-1, 0, end - at, now)
      writeU64(chunk.view, start + RECORD_SOURCE_OFFSET, n)
      n++
    }
    this.#made = n
    return chunk.records
  }

  #wake(waitMs: number): void {
    if (this.#timer !== undefined) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#context.ready()
    }, waitMs)
  }
}

export const generatorSource: SourceType = {
  create: (settings, context) => new GeneratorSource(settings as unknown as Settings, context),
}
