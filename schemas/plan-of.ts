// A checked document as the plan that a host carries out.

import type { ResolvedComponent } from './check-component.ts'
import { DEFAULT_EVERY_MS } from './components/json-aggregate.ts'
import { DEFAULT_STOP_ABOVE, type DocumentComponent, type PipelineDocument } from './document.ts'
import type { Plan, PlanComponent, StartFrom } from './plan.ts'

export interface PlanOptions {
  startFrom?: StartFrom
  paused?: boolean
}

/**
 * @param document, resolved of `checkDocument`
 * @param revision n-th document of this pipeline, from 1
 */
export function planOf(
  tenant: string,
  document: PipelineDocument,
  resolved: readonly ResolvedComponent[],
  revision: number,
  options: PlanOptions = {},
): Plan {
  return {
    tenant,
    id: document.id,
    revision,
    delivery: document.delivery,
    checkpointEveryMs: document.checkpointEveryMs,
    isolation: document.isolation,
    components: document.components.map((component, i) => planComponent(component, resolved[i]!, document)),
    ...options,
  }
}

/** The plan after one component was given other settings or another operator; the others are the same objects as before. */
export function planChanged(
  before: Plan,
  index: number,
  document: PipelineDocument,
  resolved: readonly ResolvedComponent[],
  revision: number,
): Plan {
  const component = planComponent(document.components[index]!, resolved[index]!, document)
  return { ...before, revision, components: before.components.with(index, component) }
}

function planComponent(
  component: DocumentComponent,
  resolved: ResolvedComponent,
  document: PipelineDocument,
): PlanComponent {
  const { id } = component
  const { settings } = resolved
  const from = component.from ?? []
  if (resolved.kind === 'source') return { kind: 'source', id, type: resolved.type, settings }
  if (resolved.kind === 'emitter') return { kind: 'emitter', id, type: resolved.type, settings, from }
  const everySecond = resolved.name === 'json-aggregate' ? { everyMs: DEFAULT_EVERY_MS } : undefined
  return {
    kind: 'operator',
    id,
    name: resolved.name,
    version: resolved.version,
    digest: resolved.digest,
    ports: portsOf(id, resolved.ports, document),
    from,
    settings,
    emitWhen: component.emitWhen ?? everySecond,
    onError: component.onError ?? { do: 'dead-letter', stopAbove: DEFAULT_STOP_ABOVE },
    limits: component.limits ?? {},
    partitionBy: component.partitionBy,
    parallelism: component.parallelism,
    discardState: component.discardState,
    permissions: resolved.permissions,
  }
}

/** Where any name is a port, the ones that are read are the ports, in the order in which the document names them. */
function portsOf(id: string, ports: string[], document: PipelineDocument): string[] {
  if (!ports.includes('*')) return ports
  const named = new Set(ports.filter((port) => port !== '*'))
  for (const consumer of document.components) {
    for (const edge of consumer.from ?? []) if (edge.component === id) named.add(edge.port)
  }
  return [...named]
}
