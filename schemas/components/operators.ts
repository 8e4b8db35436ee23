// The operators that come with the product, but for json-aggregate and json-map, which have files of their own.

import * as v from 'valibot'
import { pathSchema } from '../json-path.ts'
import { PORT_PATTERN } from '../names.ts'
import { closedObject, integer, numberIn } from '../shapes.ts'
import { operator } from './component.ts'
import { whereSchema } from './condition.ts'

/** Ports of one component, `unmatched` included: what the guest ABI has bits for. */
const ROUTES_MAX = 63
export const UNMATCHED_PORT = 'unmatched'

const jsonFilterSettings = closedObject({ where: whereSchema })

export const jsonFilter = operator({
  name: 'json-filter',
  description: 'Passes on the records for which every condition holds; the others leave by the port "rejected".',
  settings: jsonFilterSettings,
  ports: () => ['out', 'rejected'],
})

const routeSettings = v.pipe(
  closedObject({
    routes: v.pipe(
      v.array(
        closedObject({
          port: v.pipe(
            v.string(),
            v.regex(PORT_PATTERN, 'must be 1 to 63 of the characters a–z, A–Z, 0–9, "_" and "-"'),
            v.check(
              (port) => port !== UNMATCHED_PORT,
              'the port "unmatched" takes what no route wants; choose another name',
            ),
          ),
          where: whereSchema,
        }),
      ),
      v.minLength(1),
      v.maxLength(ROUTES_MAX),
    ),
    match: v.optional(v.picklist(['first', 'all']), 'first'),
  }),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return
    const { routes } = dataset.value
    const seen = new Set<string>()
    routes.forEach((route, index) => {
      if (seen.has(route.port)) {
        addIssue({
          message: `the port "${route.port}" has a route already; join the two with {any: […]}`,
          path: [
            { type: 'object', origin: 'value', input: dataset.value, key: 'routes', value: routes },
            { type: 'array', origin: 'value', input: routes, key: index, value: route },
            { type: 'object', origin: 'value', input: route, key: 'port', value: route.port },
          ],
        })
      }
      seen.add(route.port)
    })
  }),
)

export const route = operator({
  name: 'route',
  description:
    'Sends a record to the port of the first route (or of every route) whose conditions hold, else to "unmatched".',
  settings: routeSettings,
  ports: (settings) => [...(settings.routes as { port: string }[]).map((one) => one.port), UNMATCHED_PORT],
})

export const throttle = operator({
  name: 'throttle',
  description: 'Passes on at most so many records in a time; the others leave by the port "excess".',
  settings: closedObject({ records: integer(1, 1_000_000_000), perMs: integer(1, 86_400_000) }),
  ports: () => ['out', 'excess'],
})

export const sample = operator({
  name: 'sample',
  description: 'Passes on every n-th record, or a share of them chosen by a seed.',
  settings: v.pipe(
    closedObject({
      every: v.optional(integer(1, 1_000_000_000)),
      ratio: v.optional(numberIn(0, 1)),
      seed: v.optional(integer(0, 0xffff_ffff)),
    }),
    v.check((s) => (s.every === undefined) !== (s.ratio === undefined), 'needs either "every" or "ratio"'),
    v.check((s) => s.every === undefined || s.seed === undefined, '"seed" belongs to "ratio"; "every" needs none'),
    v.transform((s) => (s.ratio === undefined ? s : { ...s, seed: s.seed ?? 1 })),
  ),
})

export const dedupe = operator({
  name: 'dedupe',
  keepsState: true,
  description: 'Passes on the first record of each value; the others leave by the port "duplicates".',
  settings: v.pipe(
    closedObject({
      /** A path, or `key`: the record's key. */
      by: pathSchema,
      withinMs: v.optional(integer(1, 31 * 86_400_000)),
      capacity: v.optional(integer(1, 10_000_000)),
    }),
    v.check(
      (s) => s.withinMs !== undefined || s.capacity !== undefined,
      'needs "withinMs" (how long a value is remembered) or "capacity" (how many values are)',
    ),
  ),
  ports: () => ['out', 'duplicates'],
})
