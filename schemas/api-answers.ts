// What the product's HTTP API answers, as types and for its description. Answers are not parsed by who gives them.

import * as v from 'valibot'
import { RECORD_FAULTS, STATUS_OF } from './errors.ts'

export const PIPELINE_STATES = ['starting', 'running', 'paused', 'draining', 'stopped', 'completed', 'failed'] as const
export type PipelineState = (typeof PIPELINE_STATES)[number]

const state = v.picklist(PIPELINE_STATES)
const count = v.pipe(v.number(), v.integer())
const list = <S extends v.GenericSchema>(item: S) => v.object({ items: v.array(item), next: v.optional(v.string()) })

export const issueAnswer = v.object({
  pointer: v.string(),
  message: v.string(),
  line: v.optional(count),
  column: v.optional(count),
})

export const problemAnswer = v.looseObject({
  type: v.string(),
  title: v.string(),
  status: count,
  code: v.picklist([...(Object.keys(STATUS_OF) as (keyof typeof STATUS_OF)[]), ...RECORD_FAULTS]),
  detail: v.string(),
  issues: v.optional(v.array(issueAnswer)),
})

const timings = v.object({
  validateMs: v.number(),
  placeMs: v.number(),
  instantiateMs: v.number(),
  totalMs: v.number(),
})

const pipelineHead = {
  id: v.string(),
  state,
  reason: v.optional(v.string()),
  revision: count,
}

export const createdAnswer = v.object({
  ...pipelineHead,
  hosts: v.array(v.string()),
  warnings: v.array(issueAnswer),
  timings,
})
export const dryRunAnswer = v.object({ valid: v.literal(true), warnings: v.array(issueAnswer) })
export const stateAnswer = v.object(pipelineHead)
export const pipelineItem = v.object({ ...pipelineHead, hosts: v.array(v.string()) })
export const pipelineList = list(pipelineItem)
export const changeAnswer = v.object({
  revision: count,
  fromSequence: v.optional(v.object({ component: v.string(), sequence: v.union([count, v.string()]) })),
  stateReset: v.boolean(),
  timings,
})

export const savepointAnswer = v.object({ name: v.string(), epoch: count, createdAt: count, bytes: count })
export const savepointList = list(savepointAnswer)

const counters = {
  recordsIn: count,
  recordsOut: count,
  bytesIn: count,
  bytesOut: count,
  errors: count,
  deadLetters: count,
  fuelUsed: count,
  busyMs: v.number(),
  latencyUs: v.object({ p50: v.number(), p99: v.number() }),
  memoryBytes: count,
}
const componentStats = v.object({ ...counters, instances: v.optional(v.array(v.object(counters))) })
export const statsAnswer = v.object({
  components: v.record(v.string(), componentStats),
  edges: v.array(v.object({ from: v.string(), to: v.string(), depth: count, capacity: count, dropped: count })),
})

export const operatorAnswer = v.object({
  name: v.string(),
  version: v.string(),
  digest: v.string(),
  bytes: count,
  abi: count,
  description: v.optional(v.string()),
  ports: v.union([v.array(v.string()), v.literal('*')]),
  settingsSchema: v.looseObject({}),
  permissions: v.array(v.string()),
})
export const operatorList = list(operatorAnswer)

export const topicAnswer = v.object({
  name: v.string(),
  partitions: count,
  retentionMs: v.optional(count),
  retentionBytes: v.optional(count),
  compact: v.optional(v.boolean()),
  createdAt: v.optional(count),
})
export const topicList = list(topicAnswer)

const bytes = v.object({ base64: v.string() })
const textOrBytes = v.union([v.string(), bytes])

/** What is posted to a topic. */
export const recordsPost = v.object({
  records: v.array(
    v.object({
      key: v.optional(textOrBytes),
      /** Stored as its JSON text as sent; `{base64}` as those bytes; null: no value. */
      value: v.unknown(),
      headers: v.optional(v.record(v.string(), v.nullable(textOrBytes))),
      partition: v.optional(count),
      timestamp: v.optional(count),
    }),
  ),
})
export const recordsPosted = v.object({ records: v.array(v.object({ partition: count, offset: v.string() })) })

const record = v.object({
  partition: count,
  offset: v.string(),
  timestamp: count,
  key: v.nullable(textOrBytes),
  value: v.unknown(),
  headers: v.record(v.string(), v.nullable(textOrBytes)),
})
export const recordsAnswer = v.object({ records: v.array(record), next: v.record(v.string(), v.string()) })
export const deadLetterList = list(record)
export const replayAnswer = v.looseObject({ replayed: count })
export const ingestAnswer = v.object({ accepted: count })

const quotaCount = v.optional(v.number())
const grantList = v.optional(v.array(v.string()))
export const tenantAnswer = v.object({
  id: v.string(),
  createdAt: v.optional(count),
  quotas: v.record(v.string(), v.number()),
  /** Absent: what the hosts permit (the tenant `default` unless told otherwise). */
  permissions: v.optional(
    v.object({ net: grantList, read: grantList, write: grantList, env: grantList, topic: grantList }),
  ),
  /** What it uses now of what is counted; `compileSeconds` of this day (UTC). */
  used: v.object({
    pipelines: count,
    instances: count,
    memoryMiB: count,
    operators: count,
    topicBytes: quotaCount,
    compileSeconds: v.number(),
  }),
})
export const tenantItem = v.object({ id: v.string(), createdAt: v.optional(count) })
export const tenantList = list(tenantItem)
export const tokenAnswer = v.object({ id: v.string(), token: v.string() })
export const tokenItem = v.object({
  id: v.string(),
  scopes: v.array(v.string()),
  createdAt: count,
  expiresAt: v.optional(v.string()),
})
export const tokenList = list(tokenItem)
export const secretItem = v.object({ name: v.string(), changedAt: count })
export const secretList = list(secretItem)
export const auditItem = v.object({
  /** Counts up; `after` of the next page, which is older. */
  number: count,
  /** ms since 1970 */
  at: count,
  tenant: v.string(),
  /** Id of a token; `admin`: the administrator's; `local`: no token is asked for. */
  by: v.string(),
  /** Address that the request came from. */
  from: v.string(),
  /** Method and path. */
  what: v.string(),
  /** What it made, where the path does not say. */
  made: v.optional(v.string()),
  status: count,
})
export const auditList = list(auditItem)
/** `present`: heard within the last seconds; `away`: its pipelines wait for it. */
export const hostAnswer = v.looseObject({
  id: v.string(),
  url: v.string(),
  state: v.picklist(['present', 'away']),
  pipelines: count,
})
export const hostHello = v.object({ manager: v.string(), nonce: v.string(), proof: v.string() })
/** `ready`: all that shall run there runs. */
export const heartbeatAnswer = v.object({ ready: v.boolean() })
export const hostList = list(hostAnswer)

export type CreatedAnswer = v.InferOutput<typeof createdAnswer>
export type DryRunAnswer = v.InferOutput<typeof dryRunAnswer>
export type StateAnswer = v.InferOutput<typeof stateAnswer>
export type PipelineItem = v.InferOutput<typeof pipelineItem>
export type ChangeAnswer = v.InferOutput<typeof changeAnswer>
export type SavepointAnswer = v.InferOutput<typeof savepointAnswer>
export type ComponentStats = v.InferOutput<typeof componentStats>
export type StatsAnswer = v.InferOutput<typeof statsAnswer>
export type OperatorAnswer = v.InferOutput<typeof operatorAnswer>
export type TopicAnswer = v.InferOutput<typeof topicAnswer>
export type RecordAnswer = v.InferOutput<typeof record>
export type RecordsAnswer = v.InferOutput<typeof recordsAnswer>
export type RecordsPosted = v.InferOutput<typeof recordsPosted>
export type IngestAnswer = v.InferOutput<typeof ingestAnswer>
export type TokenAnswer = v.InferOutput<typeof tokenAnswer>
export type TenantAnswer = v.InferOutput<typeof tenantAnswer>
export type TenantItem = v.InferOutput<typeof tenantItem>
export type TokenItem = v.InferOutput<typeof tokenItem>
export type SecretItem = v.InferOutput<typeof secretItem>
export type AuditItem = v.InferOutput<typeof auditItem>
