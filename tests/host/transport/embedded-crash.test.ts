// What the embedded log promises when something breaks: kill -9, a second process, a full disk, damaged bytes.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { EmbeddedLog } from '../../../host/transport/embedded/embedded-log.ts'
import { EmbeddedTransport } from '../../../host/transport/embedded/embedded-transport.ts'
import { SLOT } from './log-child.ts'
import { append, commit, readAll, rejects, slotId, snapshot, texts, values } from './suite.ts'

interface Context {
  dataDir: string
  children: ChildProcess[]
  /** Starts log-child.ts. */
  child(mode: string, fileBytesMax?: number): { process: ChildProcess; lines: AsyncIterator<string> }
  /** Opens the log in this process, does something with it, closes it. */
  use<T>(act: (transport: EmbeddedTransport) => Promise<T>): Promise<T>
}

const childScript = fileURLToPath(new URL('./log-child.js', import.meta.url))
const test = suite<Context>('embedded log, when something breaks')

test.before.each((context) => {
  const dataDir = mkdtempSync(join(tmpdir(), 'spqr-crash-'))
  context.dataDir = dataDir
  context.children = []
  context.child = (mode, fileBytesMax) => {
    // The soft limit alone, so that it can be raised again. In units of 512 bytes.
    const limit = fileBytesMax ? `ulimit -S -f ${Math.floor(fileBytesMax / 512)}; ` : ''
    const command = `${limit}exec "$0" "$@"`
    const child = spawn('sh', ['-c', command, process.execPath, childScript, mode, dataDir], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    context.children.push(child)
    const reader: Interface = createInterface({ input: child.stdout! })
    return { process: child, lines: reader[Symbol.asyncIterator]() }
  }
  context.use = async (act) => {
    const log = await EmbeddedLog.start({ dataDir })
    try {
      return await act(new EmbeddedTransport(log.connect()))
    } finally {
      await log.stop()
    }
  }
})

test.after.each(async ({ children, dataDir }) => {
  for (const child of children) await killed(child)
  rmSync(dataDir, { recursive: true })
})

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  await new Promise((resolve) => {
    child.once('exit', resolve)
    child.kill('SIGKILL')
  })
}

test('kill -9 loses nothing acknowledged and shows nothing staged', async ({ child, use }) => {
  let acknowledged = 0
  let epoch = 0
  for (let round = 0; round < 4; round++) {
    const { process: running, lines } = child('append')
    for (let count = 0; count < 60 + round * 45; count++) {
      const [word, number] = String((await lines.next()).value).split(' ')
      if (word === 'plain') acknowledged = Number(number)
      else epoch = Number(number)
    }
    await killed(running)
    for (let line = await lines.next(); !line.done; line = await lines.next()) {
      const [word, number] = line.value.split(' ')
      if (word === 'plain') acknowledged = Number(number)
      else epoch = Number(number)
    }
    await use(async (transport) => {
      const plain = texts(await readAll(transport, 'plain'))
      assert.ok(plain.length >= acknowledged, `${plain.length} of ${acknowledged} are there`)
      assert.equal(plain, texts(values(0, plain.length)))
      const stored = (await transport.checkpoint(SLOT))!.epoch
      assert.ok(stored >= epoch, `epoch ${epoch} was acknowledged, ${stored} is stored`)
      assert.equal(texts(await readAll(transport, 'staged')), texts(values(10, stored * 10)))
    })
  }
})

test('a folder in use is refused by name, and free as soon as its user was killed', async ({ child, use, dataDir }) => {
  const { process: holder, lines } = child('hold')
  assert.is((await lines.next()).value, 'open')
  const error = await rejects(
    use(async () => {}),
    'IN_USE',
  )
  assert.ok(error.message.includes(dataDir))
  await killed(holder)
  await use(async (transport) => {
    await transport.createTopic({ name: 'mine' })
    await rejects(EmbeddedLog.start({ dataDir }), 'IN_USE')
    assert.ok(await transport.topic('mine'))
  })
})

test('a full disk refuses and loses nothing; with room again it goes on', async ({ child, use }) => {
  const { process: running, lines } = child('fill', 4 << 20)
  let acknowledged = 0
  const until = async (word: string): Promise<string[]> => {
    for (let line = await lines.next(); !line.done; line = await lines.next()) {
      const words = line.value.split(' ')
      if (words[0] === 'plain') acknowledged = Number(words[1])
      if (words[0] === word) return words
    }
    throw new Error(`it ended before it said ${word}`)
  }
  assert.equal(await until('refused'), ['refused', 'TRANSPORT_UNAVAILABLE', 'true'])
  assert.is((await until('readable'))[1], String(acknowledged))
  const before = acknowledged
  assert.ok(before > 20)
  if (hasPrlimit()) {
    execFileSync('prlimit', ['--pid', String(running.pid), '--fsize=unlimited'])
    while (acknowledged < before + 20) await until('plain')
  } else {
    process.stdout.write('SKIP room again after a full disk: there is no prlimit\n')
  }
  await killed(running)
  await use(async (transport) => {
    const records = await readAll(transport, 'plain')
    assert.ok(records.length >= acknowledged)
    assert.equal(
      records.map((record) => record.timestamp),
      records.map((_, i) => i),
    )
  })
})

function hasPrlimit(): boolean {
  try {
    execFileSync('prlimit', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** Changes one byte of the newest row of a table. In a process of its own: libsql closes a file only with its last statement. */
function damage(dataDir: string, table: 'chunk' | 'batch' | 'checkpoint', column: string): void {
  execFileSync(process.execPath, [childScript, 'damage', dataDir, table, column])
}

for (const [what, table, column] of [
  ['page', 'chunk', 'data'],
  ['description', 'checkpoint', 'state'],
] as const) {
  test(`a checkpoint with a damaged ${what} is refused, and the one before loads`, async ({ use, dataDir }) => {
    const slot = slotId()
    const state = (epoch: number) =>
      snapshot(3, (memory) => memory.fill(epoch, epoch * 20_000, epoch * 20_000 + 15_000))
    await use(async (transport) => {
      for (let epoch = 1; epoch <= 3; epoch++) await commit(transport, slot, epoch, { snapshots: [state(epoch)] })
    })
    damage(dataDir, table, column)
    await use(async (transport) => {
      const error = await rejects(transport.checkpoint(slot), 'INVALID_STATE')
      assert.ok(error.message.includes('epoch 3') && error.message.includes('epoch 2'), error.message)
      assert.equal(error.extra, { epoch: 3, wholeEpoch: 2 })
      const before = await transport.checkpoint(slot, { epoch: 2 })
      assert.is(Buffer.compare(before!.snapshots[0]!.memory, state(2).memory), 0)
      await commit(transport, slot, 4, { snapshots: [state(4 % 3)] })
      assert.is((await transport.checkpoint(slot))?.epoch, 4)
    })
  })
}

test('damaged records are named, not answered, and can be passed over', async ({ use, dataDir }) => {
  await use(async (transport) => {
    await transport.createTopic({ name: 'topic' })
    await append(transport, 'topic', values(0, 10))
    await append(transport, 'topic', values(10, 100))
  })
  damage(dataDir, 'batch', 'data')
  await use(async (transport) => {
    const sound = await transport.read('topic', 0, 3n, 1 << 20)
    assert.equal([sound.records, sound.next], [7, 10n])
    const error = await rejects(transport.read('topic', 0, 10n, 1 << 20), 'INVALID_STATE')
    assert.match(error.message, /offset 10 to 109/)
    assert.equal(error.extra, { next: '110' })
    await append(transport, 'topic', values(110, 1))
    assert.equal(texts(await readAll(transport, 'topic', 110n)), ['value 110'])
  })
})

test('a file that is no log is refused with one clear sentence', async ({ use, dataDir }) => {
  const path = join(dataDir, 'log.db')
  writeFileSync(path, 'this is not a database, '.repeat(500))
  const error = await rejects(
    use(async () => {}),
    'INVALID_STATE',
  )
  assert.ok(error.message.includes(path))
})

test.run()
