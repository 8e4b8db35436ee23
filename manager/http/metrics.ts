// Prometheus metrics: the process, pipelines by state, and records per component of some pipelines (each component is a
// time series, so their number is bounded).
// Runs on: control, when somebody asks.

import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { pipelinePath } from '../hosts/host-client.ts'
import type { PipelineContext } from '../pipelines/pipeline-context.ts'
import { keyOf, type PipelineEntry } from '../pipelines/pipeline-index.ts'
import { stateOf, statesOnHosts } from '../pipelines/state.ts'

/** Pipelines whose components are shown; the rest is counted in `spqr_pipelines` alone. */
const DETAILED_PIPELINES_MAX = 200

interface Stats {
  components: Record<string, { recordsIn: number; recordsOut: number; errors: number; deadLetters: number }>
}

const COUNTS = ['recordsIn', 'recordsOut', 'errors', 'deadLetters'] as const
const LABELS = ['tenant', 'pipeline', 'component'] as const

export class Metrics {
  readonly #context: PipelineContext
  readonly #registry = new Registry()
  readonly #pipelines: Gauge<'state'>
  readonly #counts: Record<(typeof COUNTS)[number], Counter<(typeof LABELS)[number]>>

  constructor(context: PipelineContext) {
    this.#context = context
    const registers = [this.#registry]
    collectDefaultMetrics({ register: this.#registry })
    this.#pipelines = new Gauge({
      name: 'spqr_pipelines',
      help: 'Pipelines by state',
      labelNames: ['state'],
      registers,
    })
    const counter = (name: string, help: string): Counter<(typeof LABELS)[number]> =>
      new Counter({ name: `spqr_component_${name}_total`, help, labelNames: LABELS, registers })
    this.#counts = {
      recordsIn: counter('records_in', 'Records that a component took in'),
      recordsOut: counter('records_out', 'Records that left a component'),
      errors: counter('errors', 'Errors of a component'),
      deadLetters: counter('dead_letters', 'Records that a component could not process'),
    }
  }

  async scrape(): Promise<{ text: string; contentType: string }> {
    const onHosts = await statesOnHosts(this.#context)
    this.#pipelines.reset()
    const moving: PipelineEntry[] = []
    for (const entry of this.#context.index.all()) {
      const { state } = stateOf(entry, onHosts.get(keyOf(entry.tenant, entry.id)))
      this.#pipelines.inc({ state })
      if (state === 'running' && moving.length < DETAILED_PIPELINES_MAX) moving.push(entry)
    }
    for (const counter of Object.values(this.#counts)) counter.reset()
    await Promise.all(moving.map((entry) => this.#count(entry)))
    return { text: await this.#registry.metrics(), contentType: this.#registry.contentType }
  }

  async #count({ tenant, id }: PipelineEntry): Promise<void> {
    const response = await this.#context.hosts.of(tenant, id).forward('GET', `${pipelinePath(tenant, id)}/stats`)
    // It ended meanwhile.
    if (!response.ok) return void (await response.body?.cancel())
    const { components } = (await response.json()) as Stats
    for (const [component, stats] of Object.entries(components)) {
      for (const name of COUNTS) this.#counts[name].inc({ tenant, pipeline: id, component }, stats[name])
    }
  }
}
