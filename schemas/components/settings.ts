// Settings that several sources and emitters share. A text may hold `${secret:NAME}` or `${env:NAME}`, which the host
// puts in; what such a text becomes is checked there.

import * as v from 'valibot'
import { TOPIC_PATTERN } from '../names.ts'
import { closedObject, text } from '../shapes.ts'

/** The text holds something that only the host can put in. */
export const hasPlaceholder = (value: string): boolean => /\$\{(?:secret|env):[^}]*\}/.test(value)

export const fileFormat = v.picklist(['ndjson', 'csv', 'lines'])

export const filePath = v.pipe(
  text(4096),
  v.check((path) => !path.includes('\0'), 'must not hold a NUL character'),
)

export const topicSetting = v.pipe(
  v.string(),
  v.check(
    (topic) => hasPlaceholder(topic) || TOPIC_PATTERN.test(topic),
    'must be a topic\'s name: 1 to 180 of the characters a–z, A–Z, 0–9, ".", "_" and "-"',
  ),
)

const broker = v.pipe(
  text(300),
  v.regex(/^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):\d{1,5}$/, 'must be a broker: host:port'),
)

/** How a cluster of the component's own is reached. */
export const kafkaSettings = {
  brokers: v.pipe(v.array(broker), v.minLength(1, 'must name at least one broker'), v.maxLength(32)),
  topic: topicSetting,
  tls: v.optional(v.boolean(), false),
  sasl: v.optional(
    closedObject({
      mechanism: v.picklist(['plain', 'scram-sha-256', 'scram-sha-512']),
      username: text(200),
      password: text(1000),
    }),
  ),
}

/** An address that can be posted to. */
export const urlSetting = v.pipe(
  text(4096),
  v.check((url) => {
    if (hasPlaceholder(url)) return true
    if (!URL.canParse(url)) return false
    const { protocol } = new URL(url)
    return protocol === 'http:' || protocol === 'https:'
  }, 'must be an address that begins with http:// or https://'),
)
