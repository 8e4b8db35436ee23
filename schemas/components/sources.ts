// The sources.

import * as v from 'valibot'
import { pathSchema } from '../json-path.ts'
import { closedObject, integer, numberIn, text } from '../shapes.ts'
import { READ_WORDS as FOREIGN_START_WORDS, startSchema, TOPIC_START_WORDS } from '../start.ts'
import { EVERY_DELIVERY, NOT_EXACTLY_ONCE, ONLY_AT_LEAST_ONCE, source } from './component.ts'
import { fileFormat, filePath, kafkaSettings, topicSetting } from './settings.ts'
import { drawsByChance, templateSchema } from './template.ts'

export const DEFAULT_RECORD_BYTES_MAX = 1024 * 1024
const rate = numberIn(0.001, 100_000_000)

export const httpSource = source({
  name: 'http',
  description: 'Takes what is posted to …/ingest/{source}.',
  settings: closedObject({ maxRecordBytes: v.optional(integer(1, 16 * 1024 * 1024), DEFAULT_RECORD_BYTES_MAX) }),
})

export const fileSource = source({
  name: 'file',
  description: 'Reads files, one record per line; NDJSON, CSV or plain lines, gzipped or not.',
  settings: closedObject({
    path: filePath,
    format: v.optional(fileFormat),
    recordsPerSecond: v.optional(rate),
    follow: v.optional(v.boolean(), false),
    timestampField: v.optional(pathSchema),
  }),
})

export const generator = source({
  name: 'generator',
  description: 'Makes records from a template; the same seed gives the same records.',
  settings: closedObject({
    template: templateSchema,
    recordsPerSecond: v.optional(rate),
    count: v.optional(integer(0, Number.MAX_SAFE_INTEGER)),
    seed: v.optional(integer(0, Number.MAX_SAFE_INTEGER)),
  }),
  deliveries: (settings) =>
    settings.seed === undefined && drawsByChance(settings.template) ? NOT_EXACTLY_ONCE : EVERY_DELIVERY,
  deliveryNote: 'give it a "seed", so that it makes the same records again',
})

export const timer = source({
  name: 'timer',
  description: 'Makes {sequence, timestamp} again and again.',
  settings: closedObject({ everyMs: integer(1, 31 * 86_400_000) }),
  deliveries: () => NOT_EXACTLY_ONCE,
  deliveryNote: 'its records cannot be read again',
})

/** Of a group that is shared with others: naming one is joining it. */
const groupSetting = v.pipe(
  text(200),
  v.regex(/^[A-Za-z0-9._-]+$/, 'must be of the characters a–z, A–Z, 0–9, ".", "_" and "-"'),
)

export const kafkaSource = source({
  name: 'kafka',
  description:
    'Reads a topic of any Kafka cluster, alone, or with the others of a group; how far is kept in the checkpoint.',
  settings: closedObject({
    ...kafkaSettings,
    from: v.optional(startSchema(FOREIGN_START_WORDS), 'earliest'),
    group: v.optional(groupSetting),
  }),
  deliveries: (settings) => (settings.group === undefined ? EVERY_DELIVERY : ONLY_AT_LEAST_ONCE),
  deliveryNote:
    'what it tells a group of another cluster follows the checkpoint; leave "group" out, or read by "topic"',
})

export const topicSource = source({
  name: 'topic',
  description: 'Reads a topic of the transport, alone, or with the others of a group.',
  settings: closedObject({
    topic: topicSetting,
    from: v.optional(startSchema(TOPIC_START_WORDS), 'committed'),
    group: v.optional(groupSetting),
  }),
})
