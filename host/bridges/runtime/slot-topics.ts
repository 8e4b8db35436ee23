// Which topic a source reads, by the name that its tenant uses, and how far: for dead letters and for consumer groups.

import { ingestTopic } from '../../../schemas/names.ts'
import type { SlotCommit } from '../../transport/transport.ts'
import { groupOf } from '../topic-source.ts'

export interface SourceOfTopic {
  component: string
  type: string
  settings: Record<string, unknown>
}

/** @returns null where it reads none */
export function topicOfSource(spec: { id: string; forkOf?: string }, source: SourceOfTopic | undefined): string | null {
  if (source?.type === 'topic' || source?.type === 'kafka') return String(source.settings.topic)
  if (source?.type === 'http') return ingestTopic(spec.forkOf ?? spec.id, source.component)
  return null
}

/** What the position of a source says of a topic, to be published under its group's name; none of other sources. */
export function committedOffsets(
  spec: { tenant: string; id: string },
  settings: Record<string, unknown>,
  position: unknown,
): NonNullable<SlotCommit['offsets']> {
  const { topic, offsets } = (position ?? {}) as { topic?: unknown; offsets?: Record<string, string> }
  if (typeof topic !== 'string' || typeof offsets !== 'object') return []
  const group = groupOf(spec.tenant, spec.id, settings.group)
  return Object.entries(offsets).map(([partition, offset]) => ({
    group,
    topic,
    partition: Number(partition),
    offset: BigInt(offset),
  }))
}
