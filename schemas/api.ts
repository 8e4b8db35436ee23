// Bodies and queries of the product's HTTP API. Query values come as texts and leave as what they mean.
// Runs on: control.

import * as v from 'valibot'
import { componentSchema, idSchema } from './document.ts'
import { DEFAULT_TENANT, OPERATOR_NAME_PATTERN, SAVEPOINT_PATTERN, TOPIC_PATTERN, VERSION_PATTERN } from './names.ts'
import { anyObject, closedObject, integer, mapOf, text } from './shapes.ts'
import { READ_WORDS, RESTART_WORDS, startSchema } from './start.ts'

/** Most that a listing or a read answers at once. */
export const LIMIT_MAX = 10_000
export const SOURCE_BYTES_MAX = 512 * 1024

const numeral = (min: number, max: number) =>
  v.pipe(
    v.string(),
    v.regex(/^(0|[1-9]\d{0,14})$/, 'must be a whole number'),
    v.transform(Number),
    v.minValue(min),
    v.maxValue(max),
  )
const flag = v.pipe(
  v.picklist(['true', 'false']),
  v.transform((word) => word === 'true'),
)
const limit = v.optional(numeral(1, LIMIT_MAX))

const topicNameSchema = v.pipe(
  v.string(),
  v.regex(TOPIC_PATTERN, 'must be 1 to 180 of the characters a–z, A–Z, 0–9, ".", "_" and "-"'),
)
const operatorNameSchema = v.pipe(
  v.string(),
  v.regex(
    OPERATOR_NAME_PATTERN,
    'must be 1 to 63 of the characters a–z, 0–9 and "-", and begin with a letter or digit',
  ),
)
const versionSchema = v.pipe(v.string(), v.regex(VERSION_PATTERN, 'must be a version such as 1.0.0'))
const savepointName = v.pipe(
  v.string(),
  v.regex(SAVEPOINT_PATTERN, 'must be 1 to 128 of the characters a–z, A–Z, 0–9, ".", "_" and "-"'),
)
const tenantId = v.pipe(
  idSchema,
  v.check((id) => id !== DEFAULT_TENANT, 'the tenant "default" is always there'),
)

// Queries.

export const noQuery = closedObject({})
/** `after` is the last name of the page before. */
export const listQuery = closedObject({ limit, after: v.optional(text(512)) })
export const dryRunQuery = closedObject({ dryRun: v.optional(flag, 'false') })
export const keepStateQuery = closedObject({ keepState: v.optional(v.literal('required')) })
/** `force`: with everything that is the tenant's. */
export const removeTenantQuery = closedObject({ force: v.optional(flag, 'false') })
export const removeQuery = closedObject({ drain: v.optional(flag, 'false') })
/** `every`: one record of so many. */
export const tapQuery = closedObject({
  port: v.optional(text(63)),
  limit: v.optional(numeral(1, 1_000_000_000)),
  every: v.optional(numeral(1, 1_000_000_000)),
})
export const readRecordsQuery = closedObject({
  partition: v.optional(numeral(0, 1_000_000)),
  from: v.optional(startSchema(READ_WORDS)),
  limit,
  follow: v.optional(flag, 'false'),
})

// Bodies.

/** What an operator says of itself, where it does not stand in the module. */
export const manifestSchema = closedObject({
  description: v.optional(v.pipe(v.string(), v.maxLength(4096))),
  ports: v.optional(v.pipe(v.array(text(63)), v.minLength(1), v.maxLength(64))),
  settingsSchema: v.optional(anyObject),
  permissions: v.optional(v.pipe(v.array(v.picklist(['clock', 'random', 'log'])), v.maxLength(3))),
})

export const operatorBody = closedObject({
  name: operatorNameSchema,
  version: versionSchema,
  /** AssemblyScript. */
  source: text(SOURCE_BYTES_MAX),
  manifest: v.optional(manifestSchema),
})

const { operator } = componentSchema.entries

export const patchComponentBody = v.pipe(
  closedObject({ settings: v.optional(anyObject), operator }),
  v.check((patch) => patch.settings !== undefined || patch.operator !== undefined, 'needs "settings" or "operator"'),
)

export const savepointBody = closedObject({ name: v.optional(savepointName) })

export const forkBody = closedObject({
  id: idSchema,
  savepoint: v.optional(savepointName),
  components: v.optional(
    v.pipe(v.array(closedObject({ id: idSchema, settings: v.optional(anyObject), operator })), v.maxLength(200)),
  ),
})

export const restartBody = closedObject({ from: startSchema(RESTART_WORDS, true) })

const bytesMax = Number.MAX_SAFE_INTEGER

export const topicBody = closedObject({
  name: topicNameSchema,
  partitions: v.optional(integer(1, 1024)),
  retentionMs: v.optional(integer(1, bytesMax)),
  retentionBytes: v.optional(integer(1, bytesMax)),
  compact: v.optional(v.boolean()),
})

export const tenantBody = closedObject({ id: tenantId })

export const SCOPES = ['admin', 'write', 'read', 'ingest'] as const
export type Scope = (typeof SCOPES)[number]

export const tokenBody = closedObject({
  scopes: v.pipe(v.array(v.picklist(SCOPES)), v.minLength(1), v.maxLength(4)),
  expiresAt: v.optional(
    v.pipe(
      v.string(),
      v.check(
        (at) => /^\d{4}-\d{2}-\d{2}T/.test(at) && !Number.isNaN(Date.parse(at)),
        'must be a time as ISO 8601 writes it',
      ),
    ),
  ),
})

const grants = v.optional(v.pipe(v.array(text(1024)), v.maxLength(1000)))
const TOPIC_GRANT = /^(?:[A-Za-z0-9._-]{1,180}=>[A-Za-z0-9._-]{1,249}|[A-Za-z0-9._*-]{1,249})$/
const topicGrants = v.optional(
  v.pipe(
    v.array(
      v.pipe(
        text(1024),
        v.check((entry) => TOPIC_GRANT.test(entry), 'must be the name of a topic, a pattern with "*", or alias=>name'),
      ),
    ),
    v.maxLength(1000),
  ),
)

/** What a tenant's pipelines may touch, in the words of the host's flags; `topic` also takes `alias=>name`. */
export const permissionsBody = closedObject({
  net: grants,
  read: grants,
  write: grants,
  env: grants,
  topic: topicGrants,
})

const quota = v.optional(integer(0, bytesMax))

/** What is not named has no bound. */
export const quotasBody = closedObject({
  pipelines: quota,
  instances: quota,
  memoryMiB: quota,
  fuelPerSecond: quota,
  recordsPerSecond: quota,
  bytesPerSecond: quota,
  topicBytes: quota,
  operators: quota,
  compileSeconds: quota,
})

/** Fields of `quotasBody`. */
export const QUOTA_NAMES = Object.keys(quotasBody.entries) as (keyof v.InferOutput<typeof quotasBody>)[]

export const secretBody = closedObject({ value: v.pipe(v.string(), v.maxLength(64 * 1024)) })

// Hosts. How they prove who they are: schemas/registration.ts.

const nonce = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9_.-]{16,200}$/, 'must be 16 to 200 of the characters A–Z, a–z, 0–9, "_", "." and "-"'),
)

/** What a host makes up, so that an old answer of a manager proves nothing. */
export const hostHelloBody = closedObject({ own: nonce })

/** A host says that it is there, and what it has. */
export const hostBody = closedObject({
  id: idSchema,
  url: v.pipe(
    text(2048),
    v.check(
      (url) => /^https?:\/\//.test(url) && URL.canParse(url),
      'must be an address that begins with http:// or https://',
    ),
  ),
  labels: v.optional(mapOf(text(256), { entriesMax: 32 })),
  resources: v.optional(
    closedObject({ cores: v.optional(integer(1, 4096)), memoryMiB: v.optional(integer(1, 1 << 24)) }),
  ),
  /** Of its data folder: stays over restarts. */
  folder: nonce,
  /** Of this process: another one after each start. */
  process: nonce,
  /** Hosts of one manager share a transport; `id` is the Kafka cluster's, or the data folder's. */
  transport: closedObject({ kind: v.picklist(['embedded', 'kafka']), id: text(256) }),
  version: text(64),
  /** Of its hello. */
  own: nonce,
  /** Of the manager's answer to that. */
  nonce,
  proof: nonce,
})

export const heartbeatBody = closedObject({ process: nonce })

export type ListQuery = v.InferOutput<typeof listQuery>
export type TapQuery = v.InferOutput<typeof tapQuery>
export type ReadRecordsQuery = v.InferOutput<typeof readRecordsQuery>
export type OperatorBody = v.InferOutput<typeof operatorBody>
export type PatchComponentBody = v.InferOutput<typeof patchComponentBody>
export type SavepointBody = v.InferOutput<typeof savepointBody>
export type ForkBody = v.InferOutput<typeof forkBody>
export type RestartBody = v.InferOutput<typeof restartBody>
export type TopicBody = v.InferOutput<typeof topicBody>
export type TenantBody = v.InferOutput<typeof tenantBody>
export type TokenBody = v.InferOutput<typeof tokenBody>
export type PermissionsBody = v.InferOutput<typeof permissionsBody>
export type QuotasBody = v.InferOutput<typeof quotasBody>
export type SecretBody = v.InferOutput<typeof secretBody>
export type HostBody = v.InferOutput<typeof hostBody>
