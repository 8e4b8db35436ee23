// What is watched while it moves: stats, taps, events.

import { setTimeout as sleep } from 'node:timers/promises'
import type { ApiClient } from './api-client.ts'
import { coloured, print, printJson, tableOf } from './output.ts'
import { pathOf } from './paths.ts'

interface Stats {
  components: Record<
    string,
    {
      recordsIn: number
      recordsOut: number
      errors: number
      deadLetters: number
      busyMs: number
      latencyUs: { p50: number; p99: number }
      memoryBytes: number
    }
  >
  edges: { from: string; to: string; depth: number; capacity: number; dropped: number }[]
}

const WATCH_MS = 1000

export async function showStats(
  client: ApiClient,
  id: string,
  { watch, json }: { watch?: boolean; json?: boolean },
): Promise<void> {
  let before: Stats | undefined
  for (let at = performance.now(); ; ) {
    const stats = await client.json<Stats>('GET', pathOf(id, '/stats'))
    const now = performance.now()
    if (json) printJson(stats)
    else {
      const { state } = watch ? await client.json<{ state: string }>('GET', pathOf(id)) : { state: undefined }
      const title = state === undefined ? '' : `${id}  ${coloured(state)}\n\n`
      redraw(title + statsText(stats, before, now - at), watch === true && before !== undefined)
    }
    if (!watch) return
    before = stats
    at = now
    await sleep(WATCH_MS)
  }
}

/** Over what was drawn before, on a terminal; below it elsewhere. */
function redraw(text: string, again: boolean): void {
  if (again && process.stdout.isTTY) process.stdout.write('\x1b[H\x1b[J')
  print(text)
}

function statsText(stats: Stats, before: Stats | undefined, elapsedMs: number): string {
  const rows = Object.entries(stats.components).map(([id, s]) => {
    const earlier = before?.components[id]
    const rate = earlier
      ? Math.round(((s.recordsOut || s.recordsIn) - (earlier.recordsOut || earlier.recordsIn)) / (elapsedMs / 1000))
      : undefined
    const [p50, p99] = [s.latencyUs.p50, s.latencyUs.p99].map((us) => (us > 100 ? Math.round(us) : us))
    const memory = s.memoryBytes ? `${Math.ceil(s.memoryBytes / 1024)} KiB` : ''
    return [id, s.recordsIn, s.recordsOut, ...(before ? [rate] : []), s.errors, s.deadLetters, p50, p99, memory]
  })
  const head = [
    'COMPONENT',
    'IN',
    'OUT',
    ...(before ? ['PER SECOND'] : []),
    'ERRORS',
    'DEAD',
    'P50 µs',
    'P99 µs',
    'MEMORY',
  ]
  const edges = stats.edges.map((e) => [`${e.from} → ${e.to}`, e.depth, e.capacity, e.dropped])
  const edgeTable = edges.length ? `\n\n${tableOf(['EDGE', 'DEPTH', 'CAPACITY', 'DROPPED'], edges)}` : ''
  return tableOf(head, rows) + edgeTable
}

export async function tap(
  client: ApiClient,
  id: string,
  component: string,
  options: Record<string, string | number>,
): Promise<void> {
  const query = new URLSearchParams(
    Object.entries(options).map(([name, value]): [string, string] => [name, String(value)]),
  )
  await tail(client, pathOf(id, `/tap/${encodeURIComponent(component)}${query.size ? `?${query}` : ''}`))
}

/** Prints the data of each event, a line each, until the stream ends. */
export async function tail(client: ApiClient, path: string): Promise<void> {
  for await (const { event, data } of client.events(path)) {
    if (event === 'message' || data !== '') print(event === 'message' || event === 'gap' ? data : `${event} ${data}`)
  }
}
