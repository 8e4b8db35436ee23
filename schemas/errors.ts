// Every error code the product answers with, and the one class that carries them over threads and HTTP.

/** Codes of API problems, and the status each is answered with. */
export const STATUS_OF = {
  INVALID_BODY: 400,
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  PERMISSION_DENIED: 403,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  ALREADY_EXISTS: 409,
  IN_USE: 409,
  INVALID_STATE: 409,
  TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  INVALID_DOCUMENT: 422,
  COMPILE_FAILED: 422,
  MODULE_REFUSED: 422,
  QUOTA_EXCEEDED: 429,
  BACK_PRESSURE: 429,
  TRANSPORT_UNAVAILABLE: 503,
  INTERNAL: 500,
} as const

export type ProblemCode = keyof typeof STATUS_OF

/** Codes of what can go wrong with one record: in dead letters and in the `reason` of a failed pipeline. */
export const RECORD_FAULTS = [
  'FUEL_EXHAUSTED',
  'MEMORY_EXHAUSTED',
  'OUTPUT_EXCEEDED',
  'OPERATOR_TRAP',
  'INVALID_RECORD',
  'RECORD_TOO_LARGE',
] as const

export type RecordFault = (typeof RECORD_FAULTS)[number]

/** One problem of a document or body, at its place. */
export interface Issue {
  /** JSON pointer (RFC 6901); '' is the whole. */
  pointer: string
  message: string
  /** 1-based, of text documents. */
  line?: number
  column?: number
}

/** `application/problem+json` (RFC 9457). */
export interface Problem {
  type: string
  title: string
  status: number
  code: ProblemCode
  detail: string
  issues?: Issue[]
  [extra: string]: unknown
}

export interface ErrorFields {
  issues?: Issue[]
  /** The same call may go through later. */
  retriable?: boolean
  /** Further members of the problem, e.g. `accepted` of an ingest, `retryAfterSeconds`. */
  extra?: Record<string, unknown>
  cause?: unknown
}

/** What crosses a thread in place of an error: classes and fields do not survive there. */
export interface ErrorMessage {
  code: ProblemCode | RecordFault
  message: string
  issues?: Issue[]
  retriable?: boolean
  extra?: Record<string, unknown>
  stack?: string
}

/** The error of the product. Its message is one sentence that says what was tried, on what, and what to do. */
export class SpqrError extends Error {
  override readonly name = 'SpqrError'
  readonly code: ProblemCode | RecordFault
  readonly issues?: Issue[]
  readonly retriable: boolean
  readonly extra?: Record<string, unknown>

  constructor(code: ProblemCode | RecordFault, message: string, fields: ErrorFields = {}) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause })
    this.code = code
    if (fields.issues) this.issues = fields.issues
    if (fields.extra) this.extra = fields.extra
    this.retriable = fields.retriable ?? false
  }

  get status(): number {
    return this.code in STATUS_OF ? STATUS_OF[this.code as ProblemCode] : 422
  }

  toProblem(): Problem {
    const code = this.code in STATUS_OF ? (this.code as ProblemCode) : 'INTERNAL'
    return {
      type: `urn:spqr:problem:${this.code.toLowerCase().replaceAll('_', '-')}`,
      title: this.code.toLowerCase().replaceAll('_', ' '),
      status: this.status,
      code,
      detail: this.message,
      ...(this.issues ? { issues: this.issues } : {}),
      ...this.extra,
    }
  }

  /** Its form between threads. */
  toMessage(): ErrorMessage {
    return {
      code: this.code,
      message: this.message,
      issues: this.issues,
      retriable: this.retriable,
      extra: this.extra,
      stack: this.stack,
    }
  }

  static fromMessage(m: ErrorMessage): SpqrError {
    const error = new SpqrError(m.code, m.message, { issues: m.issues, retriable: m.retriable, extra: m.extra })
    if (m.stack) error.stack = m.stack
    return error
  }

  /** Any thrown thing as a SpqrError; what is not one is INTERNAL. */
  static from(thrown: unknown): SpqrError {
    if (thrown instanceof SpqrError) return thrown
    const message = thrown instanceof Error ? thrown.message : String(thrown)
    const error = new SpqrError('INTERNAL', message, { cause: thrown })
    if (thrown instanceof Error && thrown.stack) error.stack = thrown.stack
    return error
  }
}
