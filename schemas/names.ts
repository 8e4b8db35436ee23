// Names and what they are made of: ids, topics, operator references, ports. One place, so that nobody cuts a string twice.
// Runs on: control, and wherever a name is checked.

/** Ids of pipelines, components and tenants, after `normalId`. */
export const ID_PATTERN = /^[a-z0-9][a-z0-9-]{0,62}$/
/** Names of operators. */
export const OPERATOR_NAME_PATTERN = /^[a-z0-9][a-z0-9-]{0,62}$/
export const VERSION_PATTERN = /^(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})$/
/** Output ports. */
export const PORT_PATTERN = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,62}$/
/** Topics as a tenant names them: Kafka's alphabet. */
export const TOPIC_PATTERN = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,180}$/
/** Savepoints. */
export const SAVEPOINT_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/
/** Secrets and environment variables. */
export const SECRET_PATTERN = /^[A-Za-z_][A-Za-z0-9_.-]{0,127}$/

export const DEFAULT_TENANT = 'default'
export const DEFAULT_PORT = 'out'

/** An id as it is kept: without blanks around it, `A` to `Z` in lower case. No other letter becomes one of an id (U+212A would). */
export const normalId = (id: string): string => id.trim().replace(/[A-Z]+/g, (letters) => letters.toLowerCase())

/** The full name on the transport of a tenant's topic: `<tenant>.<name>`, of the tenant `default` just the name. */
export const topicName = (tenant: string, name: string): string =>
  tenant === DEFAULT_TENANT ? name : `${tenant}.${name}`

/** What stands before the names of all topics of a tenant; '' of the tenant `default`. */
export const topicPrefix = (tenant: string): string => topicName(tenant, '')

/**
 * The name a tenant uses for a topic of the transport.
 * @param tenants ids of all tenants: `default` sees every name but theirs
 * @returns undefined where the topic is not the tenant's
 */
export function tenantTopic(tenant: string, fullName: string, tenants: Iterable<string> = []): string | undefined {
  if (tenant === DEFAULT_TENANT) {
    if (ownerOfTopic(fullName)) return fullName
    for (const other of tenants) if (other !== DEFAULT_TENANT && fullName.startsWith(`${other}.`)) return undefined
    return fullName
  }
  const prefix = topicPrefix(tenant)
  const isOurs = fullName.startsWith(prefix) && fullName.length > prefix.length
  return isOurs && !ownerOfTopic(fullName) ? fullName.slice(prefix.length) : undefined
}

/**
 * The full name of a topic or consumer group that a tenant names; the way back of `tenantTopic`.
 * @returns undefined where the name would be another's: of `default` what begins with a tenant's id and a dot; of a tenant
 * what would be an own topic of a pipeline of `default` that has the tenant's id
 */
export function reachableTopic(tenant: string, name: string, isTenant: (id: string) => boolean): string | undefined {
  const fullName = topicName(tenant, name)
  if (tenant !== DEFAULT_TENANT) return ownerOfTopic(fullName) ? undefined : fullName
  if (ownerOfTopic(fullName)) return fullName
  const dot = fullName.indexOf('.')
  return dot > 0 && isTenant(fullName.slice(0, dot)) ? undefined : fullName
}

/** The topic that keeps what a source `http` was given. */
export const ingestTopic = (pipeline: string, source: string): string => `${pipeline}.ingest.${source}`

/** The topic that keeps what a pipeline could not process. */
export const deadLetterTopic = (pipeline: string): string => `${pipeline}.dead-letters`

/** The pipeline (and source) that a topic belongs to by its suffix, which is the product's own. */
export function ownerOfTopic(name: string): { pipeline: string; ingest?: string } | undefined {
  const dead = /^([a-z0-9][a-z0-9-]{0,62})\.dead-letters$/.exec(name)
  if (dead) return { pipeline: dead[1]! }
  const ingest = /^([a-z0-9][a-z0-9-]{0,62})\.ingest\.([a-z0-9][a-z0-9-]{0,62})$/.exec(name)
  return ingest ? { pipeline: ingest[1]!, ingest: ingest[2]! } : undefined
}

/**
 * The topic's suffix is the product's own: nobody makes or removes such a topic by hand. Bare suffixes too, which after
 * a tenant's id would be the topic of a pipeline of that name.
 */
export const isReservedTopic = (name: string): boolean => /(^|\.)(dead-letters|ingest\.[^.]*)$/.test(name)

export interface OperatorReference {
  name: string
  /** Text after `@`; absent: the newest. */
  version?: string
}

/** Cuts `name`, `name@major`, `name@x.y.z`. @returns undefined where it is none of these */
export function parseOperatorReference(text: string): OperatorReference | undefined {
  const at = text.indexOf('@')
  const name = at < 0 ? text : text.slice(0, at)
  if (!OPERATOR_NAME_PATTERN.test(name)) return undefined
  if (at < 0) return { name }
  const version = text.slice(at + 1)
  return VERSION_PATTERN.test(version) || /^(0|[1-9]\d{0,5})$/.test(version) ? { name, version } : undefined
}

/** Order of two versions x.y.z: negative where `a` is older. */
export function compareVersions(a: string, b: string): number {
  const left = a.split('.')
  const right = b.split('.')
  for (let i = 0; i < 3; i++) {
    const difference = Number(left[i]) - Number(right[i])
    if (difference !== 0) return difference
  }
  return 0
}
