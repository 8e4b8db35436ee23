// A process of its own that uses a log until it is killed: `node log-child.js MODE DATA_DIR`. What it prints on a line was
// acknowledged before.

import { randomBytes } from 'node:crypto'
import { writeSync } from 'node:fs'
import { join } from 'node:path'
import Libsql from 'libsql'
import { EmbeddedLog } from '../../../host/transport/embedded/embedded-log.ts'
import { EmbeddedTransport } from '../../../host/transport/embedded/embedded-transport.ts'
import { SpqrError } from '../../../schemas/errors.ts'
import { append, values } from './suite.ts'

export const SLOT = { tenant: 'acme', pipeline: 'crash', slot: 0 }

const [, , mode, dataDir] = process.argv
if (mode && dataDir) await main(mode, dataDir)

async function main(mode: string, dataDir: string): Promise<void> {
  if (mode === 'damage') return damage(dataDir, process.argv[4]!, process.argv[5]!)
  if (mode === 'rows') return countRows(dataDir)
  const log = await EmbeddedLog.start({ dataDir, stagedBytesMax: 20_000 })
  const transport = new EmbeddedTransport(log.connect())
  if (mode === 'append') await Promise.all([appendOn(transport), commitOn(transport)])
  else if (mode === 'fill') await fill(transport)
  else say('open')
}

/** Changes one byte in the middle of the newest row of a table. */
function damage(dataDir: string, table: string, column: string): void {
  const db = new Libsql(join(dataDir, 'log.db'))
  const row = db.prepare(`select id, ${column} as bytes from ${table} order by id desc limit 1`).get()
  const { id, bytes } = row as { id: number; bytes: Buffer }
  const changed = Buffer.from(bytes)
  changed[changed.length >> 1]! ^= 1
  db.prepare(`update ${table} set ${column} = ? where id = ?`).run(changed, id)
}

/** Says how many rows the log has. */
function countRows(dataDir: string): void {
  const { rows } = new Libsql(join(dataDir, 'log.db')).prepare('select count(*) as rows from batch').get() as {
    rows: number
  }
  say(String(rows))
}

function say(line: string): void {
  writeSync(1, `${line}\n`)
}

async function appendOn(transport: EmbeddedTransport): Promise<never> {
  if (!(await transport.topic('plain'))) await transport.createTopic({ name: 'plain' })
  for (let next = Number(await transport.offsetOf('plain', 0, { at: 'latest' })); ; ) {
    const count = 1 + (next % 97)
    await append(transport, 'plain', values(next, count))
    next += count
    say(`plain ${next}`)
  }
}

/** Epoch n holds ten records of the transaction of its number; others are staged and never committed. */
async function commitOn(transport: EmbeddedTransport): Promise<never> {
  for (let epoch = ((await transport.checkpoint(SLOT))?.epoch ?? 0) + 1; ; epoch++) {
    const transaction = `tx-${epoch}`
    await append(transport, 'staged', values(epoch * 10, 4), { transaction, create: true })
    await append(transport, 'staged', values(-1_000_000, 500), { transaction: `never-${epoch % 9}`, create: true })
    await append(transport, 'staged', values(epoch * 10 + 4, 6), { transaction, create: true })
    await transport.commit({ slot: SLOT, epoch, revision: 1, meta: { epoch }, snapshots: [], transaction })
    say(`epoch ${epoch}`)
  }
}

/** Appends until the disk is full, says so, and goes on trying. */
async function fill(transport: EmbeddedTransport): Promise<never> {
  if (!(await transport.topic('plain'))) await transport.createTopic({ name: 'plain' })
  for (let next = 0; ; ) {
    const record = { value: randomBytes(50_000), timestamp: next }
    try {
      await append(transport, 'plain', [record])
      say(`plain ${++next}`)
    } catch (thrown) {
      const { code, retriable } = SpqrError.from(thrown)
      say(`refused ${code} ${retriable}`)
      const [partition] = await transport.offsets('plain')
      say(`readable ${partition!.latest}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}
