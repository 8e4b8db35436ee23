// What a broker answers instead of an answer, and what becomes of it: tried again, or one of the product's errors.
// Runs on: bridge.

import { SpqrError } from '../../../schemas/errors.ts'

/** Codes by which code decides. The others are only named. */
export const FAULT = {
  OFFSET_OUT_OF_RANGE: 1,
  UNKNOWN_TOPIC_OR_PARTITION: 3,
  NOT_LEADER_OR_FOLLOWER: 6,
  MESSAGE_TOO_LARGE: 10,
  NOT_COORDINATOR: 16,
  INVALID_TOPIC: 17,
  RECORD_LIST_TOO_LARGE: 18,
  ILLEGAL_GENERATION: 22,
  INCONSISTENT_GROUP_PROTOCOL: 23,
  UNKNOWN_MEMBER_ID: 25,
  REBALANCE_IN_PROGRESS: 27,
  INVALID_TIMESTAMP: 32,
  TOPIC_ALREADY_EXISTS: 36,
  OUT_OF_ORDER_SEQUENCE_NUMBER: 45,
  DUPLICATE_SEQUENCE_NUMBER: 46,
  INVALID_PRODUCER_EPOCH: 47,
  INVALID_TXN_STATE: 48,
  INVALID_PRODUCER_ID_MAPPING: 49,
  CONCURRENT_TRANSACTIONS: 51,
  TRANSACTION_COORDINATOR_FENCED: 52,
  UNKNOWN_PRODUCER_ID: 59,
  PRODUCER_FENCED: 90,
  TRANSACTIONAL_ID_NOT_FOUND: 105,
} as const

const NAMES: Record<number, string> = {
  [-1]: 'UNKNOWN_SERVER_ERROR',
  1: 'OFFSET_OUT_OF_RANGE',
  2: 'CORRUPT_MESSAGE',
  3: 'UNKNOWN_TOPIC_OR_PARTITION',
  5: 'LEADER_NOT_AVAILABLE',
  6: 'NOT_LEADER_OR_FOLLOWER',
  7: 'REQUEST_TIMED_OUT',
  8: 'BROKER_NOT_AVAILABLE',
  9: 'REPLICA_NOT_AVAILABLE',
  10: 'MESSAGE_TOO_LARGE',
  13: 'NETWORK_EXCEPTION',
  14: 'COORDINATOR_LOAD_IN_PROGRESS',
  15: 'COORDINATOR_NOT_AVAILABLE',
  16: 'NOT_COORDINATOR',
  17: 'INVALID_TOPIC_EXCEPTION',
  18: 'RECORD_LIST_TOO_LARGE',
  19: 'NOT_ENOUGH_REPLICAS',
  20: 'NOT_ENOUGH_REPLICAS_AFTER_APPEND',
  22: 'ILLEGAL_GENERATION',
  23: 'INCONSISTENT_GROUP_PROTOCOL',
  24: 'INVALID_GROUP_ID',
  25: 'UNKNOWN_MEMBER_ID',
  26: 'INVALID_SESSION_TIMEOUT',
  27: 'REBALANCE_IN_PROGRESS',
  29: 'TOPIC_AUTHORIZATION_FAILED',
  30: 'GROUP_AUTHORIZATION_FAILED',
  31: 'CLUSTER_AUTHORIZATION_FAILED',
  32: 'INVALID_TIMESTAMP',
  33: 'UNSUPPORTED_SASL_MECHANISM',
  35: 'UNSUPPORTED_VERSION',
  36: 'TOPIC_ALREADY_EXISTS',
  37: 'INVALID_PARTITIONS',
  38: 'INVALID_REPLICATION_FACTOR',
  40: 'INVALID_CONFIG',
  41: 'NOT_CONTROLLER',
  42: 'INVALID_REQUEST',
  43: 'UNSUPPORTED_FOR_MESSAGE_FORMAT',
  44: 'POLICY_VIOLATION',
  45: 'OUT_OF_ORDER_SEQUENCE_NUMBER',
  46: 'DUPLICATE_SEQUENCE_NUMBER',
  47: 'INVALID_PRODUCER_EPOCH',
  48: 'INVALID_TXN_STATE',
  49: 'INVALID_PRODUCER_ID_MAPPING',
  50: 'INVALID_TRANSACTION_TIMEOUT',
  51: 'CONCURRENT_TRANSACTIONS',
  52: 'TRANSACTION_COORDINATOR_FENCED',
  53: 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED',
  56: 'KAFKA_STORAGE_ERROR',
  58: 'SASL_AUTHENTICATION_FAILED',
  59: 'UNKNOWN_PRODUCER_ID',
  74: 'FENCED_LEADER_EPOCH',
  75: 'UNKNOWN_LEADER_EPOCH',
  76: 'UNSUPPORTED_COMPRESSION_TYPE',
  78: 'OFFSET_NOT_AVAILABLE',
  81: 'GROUP_MAX_SIZE_REACHED',
  87: 'INVALID_RECORD',
  88: 'UNSTABLE_OFFSET_COMMIT',
  89: 'THROTTLING_QUOTA_EXCEEDED',
  90: 'PRODUCER_FENCED',
  100: 'UNKNOWN_TOPIC_ID',
  105: 'TRANSACTIONAL_ID_NOT_FOUND',
}

const RETRIABLE = new Set([-1, 2, 3, 5, 6, 7, 8, 9, 13, 14, 15, 16, 19, 20, 41, 51, 56, 74, 75, 78, 88, 89, 100])
/** The producer is not who the broker thinks it is: it needs a new identity. */
const IDENTITY = new Set<number>([
  FAULT.OUT_OF_ORDER_SEQUENCE_NUMBER,
  FAULT.INVALID_PRODUCER_EPOCH,
  FAULT.INVALID_TXN_STATE,
  FAULT.INVALID_PRODUCER_ID_MAPPING,
  FAULT.TRANSACTION_COORDINATOR_FENCED,
  FAULT.UNKNOWN_PRODUCER_ID,
  FAULT.PRODUCER_FENCED,
])
const FORBIDDEN = new Set([29, 30, 31, 53])

export class KafkaFault extends Error {
  override readonly name = 'KafkaFault'
  readonly code: number
  constructor(code: number, detail?: string | null) {
    super(`Kafka answers ${NAMES[code] ?? `error ${code}`}${detail ? ` (${detail})` : ''}`)
    this.code = code
  }
  /** The same request may go through later, perhaps at another broker. */
  get isRetriable(): boolean {
    return RETRIABLE.has(this.code)
  }
  /** Id, epoch or sequence of the producer are void. */
  get isIdentityLost(): boolean {
    return IDENTITY.has(this.code)
  }
}

/** A broker could not be reached, or went away before it answered: what it did is not known. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost'
  readonly broker: string
  constructor(broker: string, cause: unknown) {
    super(`${broker} does not answer (${cause instanceof Error ? cause.message : String(cause)})`, { cause })
    this.broker = broker
  }
}

/** @throws KafkaFault unless the code is 0 */
export function check(code: number, detail?: string | null): void {
  if (code !== 0) throw new KafkaFault(code, detail)
}

export function isFault(thrown: unknown, code: number): boolean {
  return thrown instanceof KafkaFault && thrown.code === code
}

export function isRetriable(thrown: unknown): boolean {
  return thrown instanceof ConnectionLost || (thrown instanceof KafkaFault && thrown.isRetriable)
}

/** @param action the rest of "Cannot …" */
export function asSpqrError(action: string, thrown: unknown): SpqrError {
  if (thrown instanceof SpqrError) return thrown
  const text = `Cannot ${action}: ${thrown instanceof Error ? thrown.message : String(thrown)}`
  if (isRetriable(thrown)) {
    return new SpqrError('TRANSPORT_UNAVAILABLE', `${text}; try again.`, { retriable: true, cause: thrown })
  }
  if (thrown instanceof KafkaFault) {
    if (FORBIDDEN.has(thrown.code)) {
      const hint = 'give its user the right in Kafka (kafka-acls)'
      return new SpqrError('PERMISSION_DENIED', `${text}; ${hint}.`, { cause: thrown })
    }
    if (thrown.code === FAULT.INVALID_TIMESTAMP || thrown.code === 87) {
      return new SpqrError('INVALID_RECORD', `${text}.`, { cause: thrown })
    }
  }
  return new SpqrError('INTERNAL', `${text}.`, { cause: thrown })
}
