import { rmSync } from 'node:fs'
import type { Server } from 'node:http'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { listen, until } from '../support/client.ts'
import { DevProcess, makeFolder } from '../support/delivery.ts'

const emitters = suite('emitters that are slow, or cannot deliver')
const folder = makeFolder()
/** Numbers that were taken from each pipeline, in order: one may still post again what another test has waited for. */
const takenOf = new Map<string, number[]>()
/** How the receiver answers; it takes what it answers with 200. */
let answer: () => Promise<number> = () => Promise.resolve(200)
const { server, url } = await listen()
receive(server)
const flags = [`--allow-net=${new URL(url).host}`]
let dev = await DevProcess.start({ folder, flags })

emitters.before.each(() => {
  answer = () => Promise.resolve(200)
})
emitters.after(async () => {
  await dev.end('SIGKILL')
  server.closeAllConnections()
  server.close()
  rmSync(folder, { recursive: true, force: true })
})

function receive(receiver: Server): void {
  receiver.on('request', async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const status = await answer()
    if (status === 200) {
      const lines = body.trim().split('\n')
      taken((request.url as string).slice(1)).push(...lines.map((line) => JSON.parse(line).n))
    }
    response.writeHead(status).end()
  })
}

function taken(id: string): number[] {
  const numbers = takenOf.get(id) ?? []
  takenOf.set(id, numbers)
  return numbers
}

/** What is ingested, posted to the receiver. */
function posting(id: string, from: object | string, settings: object, more: object = {}): Record<string, unknown> {
  return {
    id,
    checkpointEveryMs: 50,
    ...more,
    components: [
      { id: 'in', source: 'http' },
      { id: 'f', operator: 'json-filter', from: 'in', settings: { where: [] } },
      { id: 'out', emitter: 'http', from, settings: { url: `${url}/${id}`, batchMs: 10, ...settings } },
    ],
  }
}

async function send(id: string, from: number, count: number, pad = ''): Promise<void> {
  const lines = Array.from({ length: count }, (_, i) => `${JSON.stringify({ n: from + i, pad })}\n`)
  await dev.client.ok('POST', `/v1/pipelines/${id}/ingest/in`, lines.join(''), 'application/x-ndjson')
}

const upTo = (to: number): number[] => Array.from({ length: to }, (_, n) => n)

emitters('an http emitter is named where exactly-once is asked for, and refused where that is strict', async () => {
  const document = posting('named', 'f', {}, { delivery: 'exactly-once' })
  const made = await dev.client.ok('POST', '/v1/pipelines', document)
  assert.equal(
    made.warnings.map((w: { pointer: string }) => w.pointer.split('/').slice(0, 3).join('/')),
    ['/components/2'],
  )
  assert.match(made.warnings[0].message, /at-least-once/)
  const strict = await dev.client.ask('POST', '/v1/pipelines', { ...document, id: 'strict', strict: true })
  assert.equal([strict.status, strict.body.code], [422, 'INVALID_DOCUMENT'])
})

for (const [id, from] of [
  ['letters', 'f'],
  ['letters-of-none', 'in'],
] as const) {
  const name = from === 'f' ? 'behind an operator' : 'without operators'
  emitters(`what an http emitter gives up is in dead letters with the epoch of its record, ${name}`, async () => {
    const document = posting(id, from, {}, { delivery: 'exactly-once', checkpointEveryMs: 600_000 })
    const components = (document.components as { id: string }[]).filter((c) => c.id !== 'f' || from === 'f')
    await dev.client.ok('POST', '/v1/pipelines', { ...document, components })
    for (const n of [0, 1, 2]) {
      let refuse = (_status: number): void => undefined
      let isAsked = false
      const refused = new Promise<number>((done) => (refuse = done))
      answer = () => {
        isAsked = true
        return refused
      }
      await send(id, n, 1)
      await until(() => isAsked || undefined)
      // The barrier stands behind the record, which is still on its way; everybody else has long passed it.
      const stored = dev.client.ok('POST', `/v1/pipelines/${id}/savepoints`, { name: `s${n}` })
      await new Promise((done) => setTimeout(done, 300))
      refuse(400)
      await stored
      const letters = await dev.client.records(`${id}.dead-letters`)
      assert.equal(
        letters.map(({ value }) => value.record.value.n),
        upTo(n + 1),
        'with its checkpoint',
      )
    }
    await dev.end('SIGKILL')
    dev = await DevProcess.start({ folder, flags })
    assert.is((await dev.client.records(`${id}.dead-letters`)).length, 3)
  })
}

emitters('an http emitter delivers everything at least once over a kill -9', async () => {
  await dev.client.ok('POST', '/v1/pipelines', posting('least', 'f', { batchRecords: 50 }))
  for (let round = 0; round < 3; round++) {
    await send('least', round * 500, 500)
    await until(() => (taken('least').length > round * 300 ? true : undefined))
    await dev.end('SIGKILL')
    dev = await DevProcess.start({ folder, flags })
  }
  await until(
    () => (new Set(taken('least')).size === 1500 ? true : undefined),
    () => `${new Set(taken('least')).size} of 1500`,
  )
})

emitters('what a drop policy drops before a slow emitter is counted, and the siblings do not wait', async () => {
  let go: () => void = () => undefined
  const gate = new Promise<void>((done) => (go = done))
  answer = () => gate.then(() => 200)
  const edge = { component: 'f', capacityKiB: 64, whenFull: 'drop-newest' }
  const document = posting('drop', edge, { batchRecords: 1000, timeoutMs: 60_000 })
  const components = [...(document.components as object[]), { id: 'fast', emitter: 'discard', from: 'f' }]
  await dev.client.ok('POST', '/v1/pipelines', { ...document, components, delivery: 'at-most-once' })
  // More than all that waits on its way holds: 64 KiB here, rings, 8 MiB in the emitter.
  const pad = 'x'.repeat(10_000)
  for (let n = 0; n < 3000; n += 100) {
    await until(async () => {
      const lines = Array.from({ length: 100 }, (_, i) => `${JSON.stringify({ n: n + i, pad })}\n`)
      const sent = await dev.client.ask('POST', '/v1/pipelines/drop/ingest/in', lines.join(''), 'application/x-ndjson')
      return sent.status === 202 ? true : undefined
    })
  }
  const stats = (): ReturnType<typeof dev.client.ok> => dev.client.ok('GET', '/v1/pipelines/drop/stats')
  await until(async () => ((await stats()).components.fast.recordsIn === 3000 ? true : undefined))
  const dropped = async (): Promise<number> => (await stats()).edges.find((e: { to: string }) => e.to === 'out').dropped
  const lost = await until(async () => ((await dropped()) > 0 ? dropped() : undefined))
  go()
  await until(
    // A batch may be posted twice: what an http emitter gets no answer to in time it sends again.
    async () => (new Set(taken('drop')).size + (await dropped()) === 3000 ? true : undefined),
    () => `${new Set(taken('drop')).size} different ones of ${taken('drop').length} taken, ${lost} dropped`,
  )
})

emitters(
  'what is refused for good is in the dead letters, record by record, before a checkpoint passes it',
  async () => {
    answer = () => Promise.resolve(400)
    await dev.client.ok('POST', '/v1/pipelines', posting('refused', 'f', {}))
    const lines = Array.from({ length: 200 }, (_, n) => `{"n":${n}}\n`).join('')
    await dev.client.ok('POST', '/v1/pipelines/refused/ingest/in', lines, 'application/x-ndjson')
    await until(async () => {
      const { components } = await dev.client.ok('GET', '/v1/pipelines/refused/stats')
      return components.out.deadLetters === 200 ? true : undefined
    })
    // With it comes a checkpoint that covers them.
    await dev.client.ok('POST', '/v1/pipelines/refused/stop')
    const letters = await dev.client.records('refused.dead-letters')
    assert.equal(
      letters.map(({ value }) => value.record.value.n),
      [...Array(200).keys()],
    )
  },
)

emitters('DELETE with drain=true delivers everything that was accepted', async () => {
  await dev.client.ok(
    'POST',
    '/v1/pipelines',
    posting('drain', 'f', { batchRecords: 100 }, { delivery: 'exactly-once' }),
  )
  for (let n = 0; n < 5000; n += 1000) await send('drain', n, 1000)
  await dev.client.ok('DELETE', '/v1/pipelines/drain?drain=true')
  assert.equal(taken('drain'), upTo(5000))
  assert.is((await dev.client.ask('GET', '/v1/pipelines/drain')).status, 404)
})

emitters('SIGTERM ends though an emitter cannot deliver, and the rest follows', async () => {
  await dev.client.ok('POST', '/v1/pipelines', posting('stuck', 'f', { retries: 1000 }, { delivery: 'at-least-once' }))
  answer = () => Promise.resolve(503)
  await send('stuck', 0, 100)
  await until(async () => {
    const { components } = await dev.client.ok('GET', '/v1/pipelines/stuck/stats')
    return components.out.errors > 0 ? true : undefined
  })
  const late = setTimeout(() => dev.child.kill('SIGKILL'), 10_000)
  assert.is(await dev.end('SIGTERM'), 0, 'ended by itself within ten seconds')
  clearTimeout(late)
  answer = () => Promise.resolve(200)
  dev = await DevProcess.start({ folder, flags })
  await until(
    () => (new Set(taken('stuck')).size === 100 ? true : undefined),
    () => `${taken('stuck').length} of 100`,
  )
})

emitters.run()
