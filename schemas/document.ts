// The pipeline document: what an author writes, and its normal form. Only forms are checked here; names, edges and
// settings are the business of check-document.ts, which knows the components and the operators that exist.
// Runs on: control.

import * as v from 'valibot'
import { DEFAULT_PORT, ID_PATTERN, normalId, PORT_PATTERN } from './names.ts'
import { anyObject, closedObject, integer, isObject, mapOf, numberIn, oneOf, text } from './shapes.ts'

export const DELIVERIES = ['at-most-once', 'at-least-once', 'exactly-once'] as const
export const WHEN_FULL = ['block', 'drop-newest', 'drop-oldest'] as const

/** Bounds of a document; above them it is refused. */
export const DOCUMENT_LIMITS = {
  components: 200,
  edgesOfComponent: 64,
  parallelism: 64,
  /** Of all operators together. */
  instances: 256,
  replicas: 64,
  textBytes: 1024 * 1024,
  depth: 64,
} as const

export const DEFAULT_CHECKPOINT_EVERY_MS = 1000
export const DEFAULT_STOP_ABOVE = 0.5

const ID_MESSAGE = 'must be 1 to 63 of the characters a–z, 0–9 and "-", and begin with a letter or digit'

/** An id, trimmed and lower-cased. */
export const idSchema = v.pipe(v.string(), v.transform(normalId), v.regex(ID_PATTERN, ID_MESSAGE))

export const deliverySchema = v.picklist(DELIVERIES)
export const isolationSchema = v.picklist(['thread', 'process'])
const portSchema = v.pipe(
  v.string(),
  v.regex(PORT_PATTERN, 'must be 1 to 63 of the characters a–z, A–Z, 0–9, "_" and "-"'),
)

const edgeText = v.pipe(
  v.string(),
  v.trim(),
  v.regex(
    /^[A-Za-z0-9][A-Za-z0-9-]{0,62}(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})?$/,
    'must be a component\'s id, or "id.port"',
  ),
  v.transform((from): DocumentEdge => {
    const dot = from.indexOf('.')
    return dot < 0
      ? { component: from.toLowerCase(), port: DEFAULT_PORT }
      : { component: from.slice(0, dot).toLowerCase(), port: from.slice(dot + 1) }
  }),
)

const edgeObject = v.pipe(
  closedObject({
    component: idSchema,
    port: v.optional(portSchema, DEFAULT_PORT),
    capacityKiB: v.optional(integer(16, 65_536)),
    whenFull: v.optional(v.picklist(WHEN_FULL)),
  }),
  v.transform((edge): DocumentEdge => edge),
)

const edge = oneOf([edgeText, edgeObject], (input) => (isObject(input) ? edgeObject : edgeText))
const edges = v.pipe(v.array(edge), v.minLength(1), v.maxLength(DOCUMENT_LIMITS.edgesOfComponent))

/** `id`, `id.port`, `{component, port?, capacityKiB?, whenFull?}`, or a list of them → list of edges. */
export const fromSchema = v.pipe(
  oneOf([edgeText, edgeObject, edges], (input) =>
    Array.isArray(input) ? edges : isObject(input) ? edgeObject : edgeText,
  ),
  v.transform((from) => (Array.isArray(from) ? from : [from])),
)

const whenRecords = closedObject({ records: integer(1, 1_000_000_000) })
const whenTime = closedObject({ everyMs: integer(1, 86_400_000) })
const whenOperator = closedObject({ operator: v.literal(true) })

/** What is none of them: says so, where neither of them could. */
const whenNothing = v.pipe(
  closedObject({
    records: v.optional(v.unknown()),
    everyMs: v.optional(v.unknown()),
    operator: v.optional(v.unknown()),
  }),
  v.check(() => false, 'needs exactly one of "records", "everyMs" and "operator"'),
) as unknown as typeof whenTime

export const emitWhenSchema = oneOf([whenRecords, whenTime, whenOperator], (input) => {
  if (!isObject(input)) return whenTime
  const [form, ...more] = ['records', 'everyMs', 'operator'].filter((name) => Object.hasOwn(input, name))
  if (form === undefined || more.length > 0) return whenNothing
  if (form === 'records') return whenRecords
  return form === 'operator' ? whenOperator : whenTime
})

const errorAction = v.picklist(['dead-letter', 'skip', 'stop'])
const onErrorText = v.pipe(
  errorAction,
  v.transform((action): OnError => ({ do: action, stopAbove: DEFAULT_STOP_ABOVE })),
)
const onErrorObject = closedObject({ do: errorAction, stopAbove: v.optional(numberIn(0, 1), DEFAULT_STOP_ABOVE) })

export const onErrorSchema = oneOf([onErrorText, onErrorObject], (input) =>
  isObject(input) ? onErrorObject : onErrorText,
)

export const limitsSchema = closedObject({
  memoryMiB: v.optional(integer(1, 4096)),
  fuelPerRecord: v.optional(integer(1000, Number.MAX_SAFE_INTEGER)),
  outputBytesPerRecord: v.optional(integer(64, 1024 * 1024 * 1024)),
})

export const componentSchema = closedObject({
  id: idSchema,
  source: v.optional(text(128)),
  operator: v.optional(text(128)),
  emitter: v.optional(text(128)),
  from: v.optional(fromSchema),
  settings: v.optional(anyObject),
  emitWhen: v.optional(emitWhenSchema),
  onError: v.optional(onErrorSchema),
  limits: v.optional(limitsSchema),
  partitionBy: v.optional(text(1024)),
  parallelism: v.optional(integer(1, DOCUMENT_LIMITS.parallelism)),
  discardState: v.optional(v.boolean()),
})

export const documentSchema = closedObject({
  id: idSchema,
  description: v.optional(v.pipe(v.string(), v.maxLength(4096))),
  delivery: v.optional(deliverySchema, 'at-least-once'),
  checkpointEveryMs: v.optional(integer(10, 3_600_000), DEFAULT_CHECKPOINT_EVERY_MS),
  replicas: v.optional(integer(1, DOCUMENT_LIMITS.replicas), 1),
  isolation: v.optional(isolationSchema, 'thread'),
  placement: v.optional(closedObject({ labels: v.optional(mapOf(text(256), { entriesMax: 32 })) })),
  strict: v.optional(v.boolean(), false),
  components: v.pipe(v.array(componentSchema), v.maxLength(DOCUMENT_LIMITS.components)),
})

export type Delivery = (typeof DELIVERIES)[number]
export type Isolation = 'thread' | 'process'
export type WhenFull = (typeof WHEN_FULL)[number]
/** Delayed response: an operator is flushed after n records, every n ms, or when it asks for it. */
export type EmitWhen = { records: number } | { everyMs: number } | { operator: true }

/** What happens to a record that an operator faults on. */
export interface OnError {
  do: 'dead-letter' | 'skip' | 'stop'
  /** Share (0 … 1) of the last 10,000 records above which the pipeline is `failed`. */
  stopAbove: number
}

/** An edge, named where it ends. */
export interface DocumentEdge {
  component: string
  /** `out` unless said otherwise. */
  port: string
  capacityKiB?: number
  whenFull?: WhenFull
}

export interface DocumentLimits {
  memoryMiB?: number
  fuelPerRecord?: number
  outputBytesPerRecord?: number
}

/** One component in its normal form; exactly one of source, operator and emitter is there. */
export interface DocumentComponent {
  id: string
  source?: string
  /** As written: `name`, `name@major` or `name@x.y.z`. */
  operator?: string
  emitter?: string
  from?: DocumentEdge[]
  /** As written, without defaults. */
  settings?: Record<string, unknown>
  emitWhen?: EmitWhen
  onError?: OnError
  limits?: DocumentLimits
  /** A JSON path, or `key`: the record's key. */
  partitionBy?: string
  parallelism?: number
  /** Where `parallelism` or `partitionBy` is another than the state was made with: it begins anew, instead of a refusal. */
  discardState?: boolean
}

/** A document in its normal form, which is itself a document. */
export interface PipelineDocument {
  id: string
  description?: string
  delivery: Delivery
  checkpointEveryMs: number
  replicas: number
  isolation: Isolation
  placement?: { labels?: Record<string, string> }
  strict: boolean
  components: DocumentComponent[]
}

/** A document as an author writes it. */
export type PipelineDocumentInput = v.InferInput<typeof documentSchema>

// The interfaces above are for readers; this keeps them and the schema the same.
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : never) : never
const _sameDocument: Same<v.InferOutput<typeof documentSchema>, PipelineDocument> = true
void _sameDocument
