// The embedded log through its proxy, on the disk of the temporary folder: durable appends, reads, checkpoints. Each figure
// is of one pass; the share of other processes in the machine shows.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { RecordBuffer } from '../../host/record/record.ts'
import { EmbeddedLog } from '../../host/transport/embedded/embedded-log.ts'
import { EmbeddedTransport } from '../../host/transport/embedded/embedded-transport.ts'
import type { Snapshot } from '../../host/transport/transport.ts'
import { shopEvents } from './operators.ts'
import type { Row } from './row.ts'

const BATCH_RECORDS = 5_000
const BATCHES = 100
const READ_BYTES = 256 << 10
const SMALL_APPENDS = 10_000
const SMALL_PRODUCERS = 64
const SLOTS = 100
const COMMITS = 1_000

export async function run(): Promise<Row[]> {
  const dataDir = mkdtempSync(join(tmpdir(), 'spqr-bench-'))
  let log = await EmbeddedLog.start({ dataDir })
  let transport = new EmbeddedTransport(log.connect())
  const rows: Row[] = []
  const rate = async (name: string, count: number, act: () => Promise<void>): Promise<void> => {
    const started = performance.now()
    await act()
    rows.push({ name, value: Math.round((count / (performance.now() - started)) * 1000), unit: '/s' })
  }
  try {
    const events = new RecordBuffer(4 << 20)
    for (const text of shopEvents(BATCH_RECORDS)) events.add({ value: Buffer.from(text), timestamp: 1 })
    const batch = events.bytes.subarray(0, events.length)
    await transport.createTopic({ name: 'events' })
    await rate('durable append, batches of 5,000, one producer', BATCHES * BATCH_RECORDS, async () => {
      for (let i = 0; i < BATCHES; i++) await transport.append('events', 0, batch, BATCH_RECORDS)
    })
    await rate('read, fresh', BATCHES * BATCH_RECORDS, () => readAll(transport))
    const one = new RecordBuffer(1024)
    one.add({ value: Buffer.from(shopEvents(1)[0]!), timestamp: 1 })
    const single = one.bytes.subarray(0, one.length)
    await transport.createTopic({ name: 'single' })
    await rate(`durable append, one record each, ${SMALL_PRODUCERS} producers`, SMALL_APPENDS, async () => {
      let sent = 0
      const produce = async (): Promise<void> => {
        while (sent++ < SMALL_APPENDS) await transport.append('single', 0, single, 1)
      }
      await Promise.all(Array.from({ length: SMALL_PRODUCERS }, produce))
    })
    await rate(`commit of a slot, state 128 KiB, ${SLOTS} slots`, COMMITS, async () => {
      let made = 0
      const commitOn = async (_: unknown, slot: number): Promise<void> => {
        for (let epoch = 1; made++ < COMMITS; epoch++) await commit(transport, slot, epoch, state(2, epoch))
      }
      await Promise.all(Array.from({ length: SLOTS }, commitOn))
    })
    for (let epoch = 1; epoch <= 2; epoch++) {
      const snapshot = state(256, epoch)
      const started = performance.now()
      await commit(transport, SLOTS, epoch, snapshot)
      const name = epoch === 1 ? 'commit, state 16 MiB, first' : 'commit, state 16 MiB, two words changed'
      rows.push({ name, value: round(performance.now() - started), unit: 'ms' })
    }
    await log.stop()
    log = await EmbeddedLog.start({ dataDir })
    transport = new EmbeddedTransport(log.connect())
    await rate('read, from disk', BATCHES * BATCH_RECORDS, () => readAll(transport))
    const started = performance.now()
    await transport.checkpoint({ tenant: 'bench', pipeline: 'bench', slot: SLOTS })
    rows.push({ name: 'load, state 16 MiB', value: round(performance.now() - started), unit: 'ms' })
    return rows
  } finally {
    await log.stop()
    rmSync(dataDir, { recursive: true })
  }
}

async function readAll(transport: EmbeddedTransport): Promise<void> {
  for (let offset = 0n; ; ) {
    const { next, latest } = await transport.read('events', 0, offset, READ_BYTES)
    if (next === latest) return
    offset = next
  }
}

async function commit(transport: EmbeddedTransport, slot: number, epoch: number, snapshot: Snapshot): Promise<void> {
  const id = { tenant: 'bench', pipeline: 'bench', slot }
  const meta = { offset: epoch }
  await transport.commit({ slot: id, epoch, revision: 1, meta, snapshots: [snapshot] })
}

/** A memory full of numbers, of which the epoch decides one. */
function state(pages: number, epoch: number): Snapshot {
  const words = new Uint32Array((pages * 65536) / 4)
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i, 2654435761) >>> (i & 15)
  words[(epoch * 7919) % words.length] = epoch
  return { component: 'c', instance: 0, digest: '0'.repeat(64), globals: {}, memory: new Uint8Array(words.buffer) }
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10
}
