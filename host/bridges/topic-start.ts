// Where the partitions of a topic are read from: what is known of them, else what the settings or a restart say.
// Runs on: bridge.

import { SpqrError } from '../../schemas/errors.ts'
import { parseStart, type Start, TOPIC_START_WORDS } from '../../schemas/start.ts'
import type { PartitionOffsets } from '../transport/transport.ts'
import type { BridgeContext } from './bridge.ts'

export interface TopicSourceOptions {
  /** Full name on the transport. */
  topic: string
  /** How people call it. */
  name: string
  /** `committed | earliest | latest | offset:N | time:ISO`, where neither a position nor `startFrom` says. */
  from: string
  /** Whose committed offsets `committed` means. */
  group: string
  /** A pipeline's own: it may not exist before its first write, and reads as empty then. */
  own: boolean
  /** Nobody can have written to it yet: there is nothing to ask for before the first write. */
  isNew?: boolean
}

/** What a source that reads a topic keeps in checkpoints. */
export interface TopicPosition {
  /** Full name: offsets of another topic mean nothing here. */
  topic: string
  /** Next offset by partition, as decimal text. */
  offsets: Record<string, string>
}

/** The offsets of a position, where it is of this topic. */
export function offsetsIn(position: unknown, topic: string): Record<string, string> | undefined {
  const kept = position as TopicPosition | undefined
  return kept?.topic === topic ? kept.offsets : undefined
}

/** A place where a topic can be begun. @throws SpqrError INVALID_DOCUMENT where it is none, or none of this topic */
export function startIn(from: string, offsets: readonly PartitionOffsets[]): Start {
  const start = parseStart(from, TOPIC_START_WORDS)
  if (!start) throw wrongFrom(`"${from}" is no place to start from`)
  if (start.at === 'offset' && offsets.every((o) => start.offset > o.latest)) {
    const ends = offsets.map((o) => o.latest).join(', ')
    throw wrongFrom(`offset ${start.offset} is past the end of the topic, which is ${ends}`)
  }
  return start
}

/**
 * Where a partition begins of which nothing is known.
 * @param bounds of the partition
 */
export async function beginningOf(
  { transport }: BridgeContext,
  topic: string,
  partition: number,
  start: Start | undefined,
  bounds: PartitionOffsets | undefined,
): Promise<bigint> {
  if (start?.at === 'offset') return bounds && start.offset > bounds.latest ? bounds.latest : start.offset
  if (start?.at === 'time') return transport.offsetOf(topic, partition, { at: 'time', timestampMs: start.timestampMs })
  if (start?.at === 'word' && start.word === 'latest') return bounds?.latest ?? 0n
  return bounds?.earliest ?? 0n
}

/** A kept offset; told where the topic no longer has it. @param name how people call the topic */
export function stillThere(
  context: BridgeContext,
  name: string,
  partition: number,
  offset: bigint,
  bounds: PartitionOffsets | undefined,
): bigint {
  if (!bounds || offset >= bounds.earliest) return offset
  const gone = bounds.earliest - offset
  context.log(
    'warn',
    `${gone} records of topic "${name}", partition ${partition}, are gone before they were read: from offset ${offset} to ${bounds.earliest}`,
  )
  return bounds.earliest
}

function wrongFrom(message: string): SpqrError {
  return new SpqrError('INVALID_DOCUMENT', `Cannot start: ${message}.`, { issues: [{ pointer: '/from', message }] })
}
