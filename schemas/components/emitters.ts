// The emitters.

import * as v from 'valibot'
import { pathSchema } from '../json-path.ts'
import { closedObject, integer, mapOf } from '../shapes.ts'
import { emitter, NOT_EXACTLY_ONCE } from './component.ts'
import { fileFormat, filePath, kafkaSettings, topicSetting, urlSetting } from './settings.ts'

const notExactlyOnce = { deliveries: () => NOT_EXACTLY_ONCE, deliveryNote: 'what has left it cannot be taken back' }

/** What Node sends of a header: a line of the first 256 characters, where a secret or variable does not stand yet. */
const isHeaderValue = (text: string): boolean => /^[\t\x20-\x7e\x80-\xff]*$/.test(text)
const HEADER_VALUE = 'must be one line of ISO 8859-1'

const headers = v.pipe(
  mapOf(v.pipe(v.string(), v.maxLength(8192), v.check(isHeaderValue, HEADER_VALUE)), { entriesMax: 64 }),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return
    for (const [key, value] of Object.entries(dataset.value)) {
      if (/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(key)) continue
      const path: [v.ObjectPathItem] = [{ type: 'object', origin: 'key', input: dataset.value, key, value }]
      addIssue({ message: `${JSON.stringify(key)} is not the name of an HTTP header`, path })
    }
  }),
)

const live = closedObject({ lastRecords: v.optional(integer(0, 100_000), 100) })

export const topicEmitter = emitter({
  name: 'topic',
  description: 'Writes to a topic of the transport.',
  settings: closedObject({ topic: topicSetting, keyPath: v.optional(pathSchema) }),
})

export const kafkaEmitter = emitter({
  name: 'kafka',
  description: 'Writes to a topic of any Kafka cluster.',
  settings: closedObject({
    ...kafkaSettings,
    keyPath: v.optional(pathSchema),
    compression: v.optional(v.picklist(['none', 'gzip', 'snappy', 'lz4', 'zstd']), 'none'),
  }),
  deliveries: () => NOT_EXACTLY_ONCE,
  deliveryNote: 'no transaction spans two clusters',
})

export const fileEmitter = emitter({
  name: 'file',
  description: 'Writes files, one record per line.',
  settings: closedObject({
    path: filePath,
    format: v.optional(fileFormat),
    rollBytes: v.optional(integer(1, Number.MAX_SAFE_INTEGER)),
    rollEveryMs: v.optional(integer(10, 366 * 86_400_000)),
  }),
})

export const httpEmitter = emitter({
  name: 'http',
  description: 'Posts records as NDJSON.',
  settings: closedObject({
    url: urlSetting,
    headers: v.optional(headers),
    batchRecords: v.optional(integer(1, 10_000), 500),
    batchMs: v.optional(integer(0, 60_000), 100),
    retries: v.optional(integer(0, 1000), 5),
    timeoutMs: v.optional(integer(1, 600_000), 10_000),
  }),
  ...notExactlyOnce,
})

export const sse = emitter({
  name: 'sse',
  description: 'Is read at …/out/{component} as server-sent events.',
  settings: live,
  ...notExactlyOnce,
})

export const websocket = emitter({
  name: 'websocket',
  description: 'Is read at …/out/{component} over WebSocket.',
  settings: live,
  ...notExactlyOnce,
})

export const consoleEmitter = emitter({
  name: 'console',
  description: 'Prints records where the host was started.',
  settings: closedObject({}),
  ...notExactlyOnce,
})

export const discard = emitter({
  name: 'discard',
  description: 'Counts records and drops them.',
  settings: closedObject({}),
})
