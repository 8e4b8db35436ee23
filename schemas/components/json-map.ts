// json-map: picks, drops, renames, sets and computes fields, and takes the record's key from one.

import * as v from 'valibot'
import { pathSchema } from '../json-path.ts'
import { closedObject, FORBIDDEN_FIELD, mapOf, text } from '../shapes.ts'
import { operator } from './component.ts'

const FIELDS_MAX = 256
const EXPRESSION_CHARACTERS_MAX = 2000

const paths = v.pipe(v.array(pathSchema), v.maxLength(FIELDS_MAX))
const fieldName = v.pipe(
  text(256),
  v.check((name) => name !== FORBIDDEN_FIELD, `the field name "${FORBIDDEN_FIELD}" is not permitted`),
)

// The keys of `rename` are paths; mapOf checks values alone.
const renamed = v.pipe(
  mapOf(fieldName, { entriesMax: FIELDS_MAX, nameBytesMax: 1024 }),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return
    for (const [path, name] of Object.entries(dataset.value)) {
      const parsed = v.safeParse(pathSchema, path)
      if (parsed.success) continue
      addIssue({
        message: parsed.issues[0].message,
        path: [{ type: 'object', origin: 'key', input: dataset.value, key: path, value: name }],
      })
    }
  }),
)

export const jsonMap = operator({
  name: 'json-map',
  description:
    'Changes fields, in this order: pick, drop, rename, set, compute; "key" makes a value the record\'s key.',
  settings: closedObject({
    pick: v.optional(paths),
    drop: v.optional(paths),
    rename: v.optional(renamed),
    set: v.optional(mapOf(v.unknown(), { entriesMax: FIELDS_MAX })),
    compute: v.optional(mapOf(text(EXPRESSION_CHARACTERS_MAX), { entriesMax: FIELDS_MAX })),
    key: v.optional(pathSchema),
  }),
})
