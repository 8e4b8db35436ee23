// Which topic of the transport a component means: its tenant's own, or one that a grant lets it reach by an alias.
// Runs on: bridge.

import { SpqrError } from '../../schemas/errors.ts'
import { topicName } from '../../schemas/names.ts'
import type { TopicInfo } from '../transport/transport.ts'
import type { BridgeContext } from './bridge.ts'

/**
 * The full name of a topic that a document names.
 * @throws SpqrError PERMISSION_DENIED where an alias leads to what the host does not permit
 */
export function bridgeTopic(context: BridgeContext, topic: string): string {
  const target = context.permissions.topicAlias(topic)
  if (target === undefined) return topicName(context.tenant, topic)
  context.permissions.askedBy(`component "${context.component}" of pipeline "${context.pipeline}"`).checkTopic(target)
  return target
}

/** @throws SpqrError INVALID_DOCUMENT with the pointer of the setting, where there is no such topic */
export async function existingTopic(context: BridgeContext, topic: string, fullName: string): Promise<TopicInfo> {
  const info = await context.transport.topic(fullName)
  if (info) return info
  throw new SpqrError(
    'INVALID_DOCUMENT',
    `Cannot use the topic "${topic}": there is none of this name; create it first.`,
    {
      issues: [{ pointer: '/topic', message: `there is no topic "${topic}"; create it first` }],
    },
  )
}
