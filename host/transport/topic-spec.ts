// What a topic may be named and how it may be made; the same for every transport.
// Runs on: every thread.

import { type Issue, SpqrError } from '../../schemas/errors.ts'
import type { TopicSpec } from './transport.ts'

export const TOPIC_NAME_MAX = 249
export const TOPIC_PARTITIONS_MAX = 1024

/** @returns what is wrong with the name of a topic, as the rest of a sentence; undefined: nothing */
export function topicNameProblem(name: unknown): string | undefined {
  if (typeof name !== 'string') return 'must be a string'
  if (name.length < 1 || name.length > TOPIC_NAME_MAX) return `must have 1 to ${TOPIC_NAME_MAX} characters`
  if (!/^[A-Za-z0-9._-]+$/.test(name)) return 'may have letters, digits, ".", "_" and "-" only'
  if (name === '.' || name === '..') return 'may not be "." or ".."'
  return undefined
}

/** @throws SpqrError INVALID_BODY with every problem of the specification */
export function checkTopicSpec(spec: TopicSpec): void {
  const issues: Issue[] = []
  const nameProblem = topicNameProblem(spec.name)
  if (nameProblem) issues.push({ pointer: '/name', message: `The name of a topic ${nameProblem}.` })
  const number = (field: 'partitions' | 'retentionMs' | 'retentionBytes', max: number): void => {
    const value = spec[field]
    if (value === undefined || (Number.isSafeInteger(value) && value >= 1 && value <= max)) return
    issues.push({ pointer: `/${field}`, message: `${field} must be a whole number from 1 to ${max}.` })
  }
  number('partitions', TOPIC_PARTITIONS_MAX)
  number('retentionMs', Number.MAX_SAFE_INTEGER)
  number('retentionBytes', Number.MAX_SAFE_INTEGER)
  if (issues.length === 0) return
  const text = issues.map((issue) => issue.message).join(' ')
  throw new SpqrError('INVALID_BODY', `Cannot create topic "${String(spec.name)}": ${text}`, { issues })
}
