// What a pipeline is doing now: the host knows, unless it is stopped, or no host could start it.
// Runs on: control.

import { SpqrError } from '../../schemas/errors.ts'
import { type HostPipeline, pipelinePath, type Reason } from '../hosts/host-client.ts'
import { type Page, type PageQuery, page } from '../page.ts'
import { entryOf, type PipelineContext, rowOf } from './pipeline-context.ts'
import type { PipelineEntry } from './pipeline-index.ts'

export interface PipelineState {
  state: string
  /** Where it is `failed`. */
  reason?: Reason
}

export interface PipelineItem extends PipelineState {
  id: string
  revision: number
  hosts: string[]
}

/** What the host says, where it is asked; undefined where it does not know the pipeline. */
export async function askHost(context: PipelineContext, entry: PipelineEntry): Promise<HostPipeline | undefined> {
  const { tenant, id } = entry
  const away = awayOf(context, entry)
  if (away) return { tenant, id, ...away }
  const host = context.hosts.of(tenant, id)
  try {
    return await host.json<HostPipeline>('GET', pipelinePath(entry.tenant, entry.id))
  } catch (error) {
    if (!(error instanceof SpqrError)) throw error
    if (error.code === 'NOT_FOUND') return undefined
    if (error.code !== 'TRANSPORT_UNAVAILABLE') throw error
    return { tenant, id, ...waiting(error.message) }
  }
}

/** What is known of a pipeline whose host is not there: that it waits for it. */
function awayOf({ hosts }: PipelineContext, { tenant, id }: PipelineEntry): PipelineState | undefined {
  const place = hosts.placeOf(tenant, id)
  if (place === undefined || hosts.get(place)?.isAway === false) return undefined
  return waiting(`Its host "${place}" is away, and it goes on when that is back.`)
}

function waiting(message: string): PipelineState {
  return { state: 'starting', reason: { code: 'TRANSPORT_UNAVAILABLE', message } }
}

export function stateOf(entry: PipelineEntry, onHost: HostPipeline | undefined): PipelineState {
  if (entry.wanted === 'deleting') return { state: 'draining' }
  if (entry.busy) return { state: entry.busy }
  if (entry.failure) {
    const { code, message, retriable } = entry.failure
    return { state: retriable ? 'starting' : 'failed', reason: { code, message } }
  }
  if (entry.wanted === 'stopped') return { state: 'stopped' }
  if (!onHost) return { state: 'starting' }
  return onHost.reason === undefined ? { state: onHost.state } : { state: onHost.state, reason: onHost.reason }
}

/** `{id,state,reason?,revision,document,hosts}` as JSON; the document goes in as the text it is kept as. */
export async function describePipeline(context: PipelineContext, tenant: string, id: string): Promise<string> {
  const entry = entryOf(context, tenant, id)
  const row = rowOf(context, tenant, id)
  const state = stateOf(entry, await askHost(context, entry))
  // A revision that the host is being asked for does not hold yet.
  const { revision, document } = row.before && row.revision !== entry.revision ? row.before : row
  const head = JSON.stringify({ id, ...state, revision })
  return `${head.slice(0, -1)},"hosts":${JSON.stringify(hostsOf(context, entry))},"document":${document}}`
}

export async function listPipelines(
  context: PipelineContext,
  tenant: string,
  query: PageQuery,
): Promise<Page<PipelineItem>> {
  const { items, ...next } = page(context.index.list(tenant), (entry) => entry.id, query)
  const states = items.length ? await statesOnHosts(context) : new Map<string, HostPipeline>()
  return {
    items: items.map((entry) => ({
      id: entry.id,
      ...stateOf(entry, states.get(`${tenant}/${entry.id}`)),
      revision: entry.revision,
      hosts: hostsOf(context, entry),
    })),
    ...next,
  }
}

/** By tenant and id, of every host. */
export async function statesOnHosts(context: PipelineContext): Promise<Map<string, HostPipeline>> {
  const { hosts, index } = context
  const states = new Map<string, HostPipeline>()
  const silent = new Map<string, string>()
  for (const host of hosts.all()) {
    try {
      const { items } = await host.json<{ items: HostPipeline[] }>('GET', '/pipelines')
      for (const item of items) {
        if (hosts.placeOf(item.tenant, item.id) === host.id) states.set(`${item.tenant}/${item.id}`, item)
      }
    } catch (error) {
      if (!(error instanceof SpqrError && error.code === 'TRANSPORT_UNAVAILABLE')) throw error
      silent.set(host.id, error.message)
    }
  }
  for (const entry of index.all()) {
    const { tenant, id } = entry
    const why = silent.get(hosts.placeOf(tenant, id) ?? '')
    const away = why === undefined ? awayOf(context, entry) : waiting(why)
    if (away) states.set(`${tenant}/${id}`, { tenant, id, ...away })
  }
  return states
}

export function hostsOf(context: PipelineContext, entry: PipelineEntry): string[] {
  const place = context.hosts.placeOf(entry.tenant, entry.id)
  return entry.placed && place !== undefined ? [place] : []
}
