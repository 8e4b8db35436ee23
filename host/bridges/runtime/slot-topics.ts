// Which topic a source reads, by the name that its tenant uses: the place of a dead letter.

import { ingestTopic } from '../../../schemas/names.ts'

export interface SourceOfTopic {
  component: string
  type: string
  settings: Record<string, unknown>
}

/** @returns null where it reads none */
export function topicOfSource(spec: { id: string; forkOf?: string }, source: SourceOfTopic | undefined): string | null {
  if (source?.type === 'topic') return String(source.settings.topic)
  if (source?.type === 'http') return ingestTopic(spec.forkOf ?? spec.id, source.component)
  return null
}
