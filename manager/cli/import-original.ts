// Turns a pipeline of the original SPQR (queues between components, every setting a text) into a document of this one.
// What has no counterpart is noted, never left out silently.

import * as v from 'valibot'

const texts = v.optional(v.nullable(v.record(v.string(), v.unknown())), {})

export const originalSchema = v.looseObject({
  id: v.pipe(v.string(), v.minLength(1)),
  queues: v.optional(v.array(v.looseObject({ id: v.string() })), []),
  components: v.pipe(
    v.array(
      v.looseObject({
        id: v.string(),
        type: v.string(),
        name: v.string(),
        version: v.optional(v.string()),
        settings: texts,
        fromQueue: v.optional(v.nullable(v.string())),
        toQueue: v.optional(v.nullable(v.string())),
      }),
    ),
    v.minLength(1),
  ),
  metricsReporter: v.optional(v.array(v.unknown()), []),
})

export type Original = v.InferOutput<typeof originalSchema>
type OriginalComponent = Original['components'][number]

export interface Imported {
  document: { id: string; components: Component[] }
  /** What the author should know, one sentence each. */
  notes: string[]
}

interface Component {
  id: string
  source?: string
  operator?: string
  emitter?: string
  from?: string | string[]
  settings?: Record<string, unknown>
  emitWhen?: Record<string, unknown>
}

/** What an original component becomes; several where one is not enough, each reading the one before. */
type Made = Omit<Component, 'id' | 'from'> & { suffix?: string }
type Converter = (settings: Settings, note: (text: string) => void) => Made[]

/** Settings of the original: texts, whatever JSON gave. */
class Settings {
  readonly #values: Record<string, unknown>
  constructor(values: Record<string, unknown>) {
    this.#values = values
  }
  text(name: string): string {
    const value = this.#values[name]
    return value === undefined || value === null ? '' : String(value).trim()
  }
  /** Below 1, or no number: the default, as it was. */
  number(name: string, fallback: number): number {
    const value = Number.parseInt(this.text(name), 10)
    return value >= 1 ? value : fallback
  }
  /** `prefix.1.key`, `prefix.2.key` … up to the first that is blank. */
  list(prefix: string, key: string): ((name: string) => string)[] {
    const found: ((name: string) => string)[] = []
    for (let n = 1; this.text(`${prefix}.${n}.${key}`) !== ''; n++)
      found.push((name) => this.text(`${prefix}.${n}.${name}`))
    return found
  }
}

const CONVERTERS: Record<string, Converter> = {
  jsoncontentfilter: (settings) => {
    const where = settings
      .list('field', 'expression')
      .map((field) => ({ path: field('path'), matches: `^\\s*(?:${field('expression')})\\s*$` }))
    return [{ operator: 'json-filter@1', settings: { where } }]
  },
  jsoncontentaggregator: (settings, note) => {
    const fields = settings.list('field', 'name').flatMap((field) => {
      const [as, path] = [field('name'), field('path')]
      if (field('type').toUpperCase() === 'STRING') return [{ path, as, fn: 'top', k: 100 }]
      return ['min', 'max', 'sum'].map((fn) => ({ path, as: `${as}-${fn}`, fn }))
    })
    if (settings.text('forwardRawData') !== 'false')
      note('the raw values are not part of the result: tap the input, or add a branch')
    note('min, max and sum are fields of their own, and counts of values are a list')
    const emitWhen = waitStrategy(settings, note)
    const made: Made[] = [
      { operator: 'json-aggregate@1', settings: { fields, reset: 'onEmit', emit: 'all' }, emitWhen },
    ]
    const [pid, typ] = [settings.text('pipelineId'), settings.text('documentType')]
    const set = { ...(pid ? { pid } : {}), ...(typ ? { typ } : {}) }
    if (pid || typ) made.push({ suffix: 'labels', operator: 'json-map@1', settings: { set } })
    return made
  },
  jsoncontentflattening: (_settings, note) => {
    note(
      'the original passed records on unchanged, and so does this; compute fields with json-map where it should flatten',
    )
    return [{ operator: 'json-map@1' }]
  },
  esperoperator: (settings, note) => {
    const statements = settings.text('esper.statement.1')
    note(
      `EPL is not understood (${JSON.stringify(statements)}): write it as an operator of your own, spqr operator new NAME`,
    )
    return [{ operator: 'esper-operator', emitWhen: { operator: true } }]
  },
  kafkasource: (settings, note) => {
    note('brokers are the host’s: start it with --kafka LIST')
    const from = settings.text('kafka.consumer.autoOffsetReset') === 'smallest' ? 'earliest' : 'latest'
    const group = settings.text('kafka.consumer.groupId')
    return [
      {
        source: 'topic',
        settings: { topic: settings.text('kafka.consumer.topic'), from, ...(group ? { group } : {}) },
      },
    ]
  },
  kafkaemitter: (settings, note) => {
    note('brokers are the host’s: start it with --kafka LIST')
    const topic = settings.text('topic')
    if (topic !== topic.toLowerCase())
      note(`the original wrote to "${topic.toLowerCase()}", for it put names in lower case`)
    return [{ emitter: 'topic', settings: { topic: topic.toLowerCase() } }]
  },
  twittersource: outside('the Twitter API of 2015 is gone'),
  webtrendssource: outside('the Webtrends API of 2015 is gone'),
}

function outside(why: string): Converter {
  return (_settings, note) => {
    note(`${why}: records come over HTTP, POST /v1/pipelines/ID/ingest/COMPONENT`)
    return [{ source: 'http' }]
  }
}

function waitStrategy(settings: Settings, note: (text: string) => void): Record<string, unknown> {
  const name = settings.text('waitStrategy.name').toLowerCase()
  if (name === 'messagecount') return { records: settings.number('waitStrategy.cfg.maxMessages', 50) }
  if (name === 'operatortriggered') return { operator: true }
  if (name !== 'timerbased') note(`the wait strategy "${name}" is not known: results come each second`)
  return { everyMs: settings.number('waitStrategy.cfg.maxDuration', 1000) }
}

const idOf = (text: string): string =>
  text
    .trim()
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 63) || 'x'

const queueOf = (text: string | null | undefined): string => (text ?? '').trim().toLowerCase()

export function importOriginal(original: Original): Imported {
  const notes: string[] = []
  const components: Component[] = []
  /** Queue → what writes it. */
  const writers = new Map<string, string[]>()
  const reads: { component: Component; queue: string }[] = []
  for (const one of original.components) {
    const note = (text: string): void => void notes.push(`${one.id}: ${text}`)
    const made = convert(one, note)
    let before: string | undefined
    for (const { suffix, ...facts } of made) {
      const component: Component = { id: idOf(suffix ? `${one.id}-${suffix}` : one.id), ...facts }
      if (before !== undefined) component.from = before
      else if (!component.source) reads.push({ component, queue: queueOf(one.fromQueue) })
      components.push(component)
      before = component.id
    }
    const to = queueOf(one.toQueue)
    if (to && before) writers.set(to, [...(writers.get(to) ?? []), before])
  }
  for (const { component, queue } of reads) {
    const from = writers.get(queue) ?? []
    if (from.length === 0) notes.push(`${component.id}: nothing writes its queue "${queue}"`)
    component.from = from.length === 1 ? from[0]! : from
  }
  for (const queue of writers.keys()) {
    const readers = reads.filter((read) => read.queue === queue).length
    if (readers > 1)
      notes.push(`${readers} components read the queue "${queue}": they shared its records, and now each gets all`)
  }
  if (original.metricsReporter.length)
    notes.push('metrics are read at /metrics in the form of Prometheus; nothing reports them')
  return { document: { id: idOf(original.id), components: components.map(inOrder) }, notes }
}

function convert(one: OriginalComponent, note: (text: string) => void): Made[] {
  const converter = CONVERTERS[one.name.trim().toLowerCase()]
  if (converter) return converter(new Settings(one.settings ?? {}), note)
  note(`"${one.name}" was a component of your own: push an operator of that name, or name another`)
  const type = one.type.trim().toUpperCase()
  const name = idOf(one.name.replace(/([a-z0-9])([A-Z])/g, '$1-$2'))
  const settings = one.settings ?? {}
  if (type === 'SOURCE') return [{ source: name, settings }]
  return [type === 'EMITTER' ? { emitter: name, settings } : { operator: name, settings }]
}

/** The fields in the order in which people read them. */
function inOrder({ id, source, operator, emitter, from, settings, emitWhen }: Component): Component {
  const fields = { id, source, operator, emitter, from, settings, emitWhen }
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as unknown as Component
}
