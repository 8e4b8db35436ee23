// What a source and an emitter are. The runtime (host/bridges/runtime) owns rings, barriers, back-pressure and counters;
// a bridge only turns bytes of the outside into records and back.
// Runs on: bridge. Everything here is called by one thread, never re-entrantly.

import type { Delivery } from '../../schemas/document.ts'
import type { SpqrError } from '../../schemas/errors.ts'
import type { StartFrom } from '../../schemas/plan.ts'
import type { ReaderForm } from '../../schemas/reader-form.ts'
import type { Permissions } from '../permissions/permissions.ts'
import type { PublishedOffset, Transport } from '../transport/transport.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

export interface BridgeContext {
  tenant: string
  pipeline: string
  component: string
  delivery: Delivery
  transport: Transport
  permissions: Permissions
  /** Largest record in bytes, header included. */
  recordBytesMax: number
  /** Where to start when there is no position; absent: as the settings say. */
  startFrom?: StartFrom
  /** A fork: its `http` sources follow the ingest topics of this pipeline. */
  forkOf?: string
  /** The pipeline is being created: what it owns cannot exist yet. */
  isNew?: boolean
  /** Says that `pull` has something, or `write` takes something, after they said no. Cheap; may be called too often. */
  ready(): void
  /** Counts one error and shows it in the pipeline's events; the bridge goes on. */
  report(error: SpqrError): void
  /** A record could not become one, or not leave: to dead letters. */
  deadLetter(error: SpqrError, record: { key?: Uint8Array; value: Uint8Array }, offset: number): void
  /** The bridge cannot go on: the pipeline becomes `failed` with this error. */
  fail(error: SpqrError): void
  log(level: LogLevel, text: string): void
  /** Stores all that the source has handed out, as soon as it has passed. @throws SpqrError where that is not possible now */
  checkpoint(): Promise<void>
  /** Id under which an emitter stages its appends in the present epoch; undefined unless delivery is exactly-once. */
  transaction(): string | undefined
}

/** A run of whole records that left a source at once. Bytes stay valid until the next `pull`. */
export interface Chunk {
  bytes: Uint8Array
  from: number
  to: number
  records: number
  /** Where to go on after the last of these records: JSON, kept in checkpoints and given to `open`. */
  position: unknown
}

/** Nothing now: `ready()` will be called. */
export const WAIT = Symbol('wait')
/** Nothing ever again. */
export const ENDED = Symbol('ended')

export interface Source {
  /**
   * Opens what it reads; the pipeline is not `running` before it returned.
   * @param position of a checkpoint; undefined: start anew
   * @throws SpqrError PERMISSION_DENIED, NOT_FOUND, INVALID_DOCUMENT …
   */
  open(position: unknown): Promise<void>
  /** Where it begins, after an `open` without a position: kept before anything flows where it would begin elsewhere later. */
  begins?(): unknown
  /** After a crash it could read again what it has handed out. */
  readonly isReread?: boolean
  /** The next records, up to about 256 KiB. Called only while there is room; never waits. */
  pull(): Chunk | typeof WAIT | typeof ENDED
  /** Records up to this position are covered by a durable checkpoint. */
  committed?(position: unknown): void
  /** What a position says to a consumer group; of a source without this, what stands in the position. */
  published?(position: unknown): PublishedOffset[]
  /** New settings while it runs; false: the runtime opens a new one at the present position in place of this. */
  configure?(settings: Record<string, unknown>): boolean
  /** Answers ENDED once what it accepted so far is pulled; a source without this is simply stopped. */
  drain?(): Promise<void>
  /** Ends at once; `pull` is not called again. */
  stop(): Promise<void>
}

export interface Emitter {
  /** After a crash it cuts off what it wrote behind its position: that is kept before it writes anything. */
  readonly isCut?: boolean
  /** @param position what `flush` answered at the checkpoint that is restored; undefined: none */
  open(position: unknown): Promise<void>
  /**
   * Takes whole records of KIND_DATA from `bytes[from … to)`, which are valid only during the call.
   * @returns bytes taken, whole records; fewer than given: back-pressure until it calls `ready()`
   */
  write(bytes: Uint8Array, from: number, to: number): number
  /**
   * Resolves when all that was written is delivered (or staged in the transaction). The answer is kept in the checkpoint.
   * Writes may come before it resolves; they belong to the next epoch.
   */
  flush(): Promise<unknown>
  configure?(settings: Record<string, unknown>): boolean
  /** A reader of `…/out/{component}`, of those that can be read. */
  subscribe?(subscriber: Subscriber): Subscription
  /** Ends; what was not flushed may be lost. */
  stop(): Promise<void>
}

export interface Subscriber {
  /** Go on after this id. */
  lastEventId?: string
  form: ReaderForm
  /**
   * Whole records in the reader's form, with a gap where some before them are no longer kept. Others get the same memory:
   * nobody changes it.
   * @returns false: slow, this was not taken; the emitter holds back until `ready()` and goes on where it was, with a gap
   *   where that is no longer kept
   */
  push(piece: Uint8Array): boolean
  /** The emitter ended. */
  end(): void
}

/** What a reader holds. */
export interface Subscription {
  /** It takes records again. */
  ready(): void
  stop(): void
}

export interface BridgeType<T> {
  create(settings: Record<string, unknown>, context: BridgeContext): T
}

export type SourceType = BridgeType<Source>
export type EmitterType = BridgeType<Emitter>
