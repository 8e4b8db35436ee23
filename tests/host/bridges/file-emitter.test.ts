import { appendFileSync, mkdirSync, readdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { Emitter } from '../../../host/bridges/bridge.ts'
import { fileEmitter } from '../../../host/bridges/file-emitter.ts'
import { fileSource } from '../../../host/bridges/file-source.ts'
import { RecordBuffer } from '../../../host/record/record.ts'
import { SpqrError } from '../../../schemas/errors.ts'
import { BridgeDriver, testFolder, textsOf } from '../../support/bridge-driver.ts'

const writing = suite('file emitter')
const csv = suite('file emitter: CSV')
const places = suite('file emitter: positions')
const encoder = new TextEncoder()

let folder = testFolder()
const opened: Emitter[] = []
for (const s of [writing, csv, places]) {
  s.before.each(() => {
    folder = testFolder()
  })
  s.after.each(async () => {
    for (const emitter of opened.splice(0)) await emitter.stop()
    folder.remove()
  })
}

const at = (name: string): string => join(folder.path, name)
const text = (name: string): string => readFileSync(at(name), 'utf8')

async function open(
  settings: Record<string, unknown>,
  position?: unknown,
  options: ConstructorParameters<typeof BridgeDriver>[0] = {},
): Promise<{ emitter: Emitter; driver: BridgeDriver; give: (...values: (string | undefined)[]) => Promise<void> }> {
  const driver = new BridgeDriver({
    flags: [`--allow-write=${folder.path}`, `--allow-read=${folder.path}`],
    ...options,
  })
  const emitter = fileEmitter.create(settings, driver.context)
  await emitter.open(position)
  opened.push(emitter)
  const give = async (...values: (string | undefined)[]): Promise<void> => {
    const buffer = new RecordBuffer()
    for (const value of values)
      buffer.add({ timestamp: 1, ...(value === undefined ? {} : { value: encoder.encode(value) }) })
    await driver.write(emitter, buffer.bytes, 0, buffer.length)
  }
  return { emitter, driver, give }
}

async function refusal(settings: Record<string, unknown>, position?: unknown): Promise<SpqrError> {
  const error = await open(settings, position).then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  assert.instance(error, SpqrError)
  return error as SpqrError
}

writing('a line per record, appended to what is there', async () => {
  writeFileSync(at('out.ndjson'), 'before\n')
  const { emitter, give } = await open({ path: at('out.ndjson') })
  await give('{"a":1}', '{\r\n"a":2}', undefined)
  await give('4')
  await emitter.flush()
  assert.is(text('out.ndjson'), 'before\n{"a":1}\n{  "a":2}\nnull\n4\n')
})

writing('plain lines: one with a line end inside is none', async () => {
  const { emitter, driver, give } = await open({ path: at('out.log') })
  await give('a', 'b\nc', undefined, '', 'd')
  await emitter.flush()
  assert.is(text('out.log'), 'a\n\n\nd\n')
  assert.equal(
    driver.deadLetters.map((d) => [d.error.code, new TextDecoder().decode(d.value)]),
    [['INVALID_RECORD', 'b\nc']],
  )
})

writing('rolls by bytes to numbered files, whole lines each, and goes on behind the last', async () => {
  const first = await open({ path: at('o.log'), rollBytes: 20 })
  await first.give('aaaaaaaaa', 'bbbbbbbbb', 'c', 'd'.repeat(50), 'e')
  await first.emitter.flush()
  await first.emitter.stop()
  assert.equal(readdirSync(folder.path), ['o-000001.log', 'o-000002.log', 'o-000003.log', 'o-000004.log'])
  assert.equal(
    ['1', '2', '3', '4'].map((n) => text(`o-00000${n}.log`)),
    ['aaaaaaaaa\nbbbbbbbbb\n', 'c\n', `${'d'.repeat(50)}\n`, 'e\n'],
  )
  const second = await open({ path: at('o.log'), rollBytes: 20 })
  await second.give('f')
  await second.emitter.flush()
  assert.is(text('o-000005.log'), 'f\n')
})

writing('rolls by time', async () => {
  const { emitter, give } = await open({ path: at('o'), rollEveryMs: 10 })
  await give('a')
  await new Promise((done) => setTimeout(done, 15))
  await give('b')
  await emitter.flush()
  assert.equal([text('o-000001'), text('o-000002')], ['a\n', 'b\n'])
})

writing('what is not permitted or cannot be written is said at once', async () => {
  symlinkSync('/etc/hosts', at('link'))
  mkdirSync(at('folder'))
  for (const path of ['/etc/x', at('link'), at('../x'), '/dev/full', '/proc/self/mem']) {
    const error = await refusal({ path })
    assert.is(error.code, 'PERMISSION_DENIED', path)
    assert.match(error.message, '--allow-write=')
  }
  assert.is((await refusal({ path: at('no/where') })).code, 'NOT_FOUND')
  assert.is((await refusal({ path: at('folder') })).code, 'INVALID_DOCUMENT')
  writeFileSync(at('file'), '')
  for (const path of [at('n'.repeat(300)), at('file/x')]) {
    const error = await refusal({ path })
    assert.is(error.code, 'INVALID_DOCUMENT', path)
    assert.is(error.issues?.[0]?.pointer, '/path')
  }
  assert.is((await refusal({ path: at('x.gz') })).issues?.[0]?.pointer, '/path')
  await open({ path: at('one') })
  assert.is((await refusal({ path: at('one') })).code, 'IN_USE')
})

writing('a device is no file, also where it is named', async () => {
  const driver = new BridgeDriver({ flags: ['--allow-write=/dev/full'] })
  const error = await fileEmitter
    .create({ path: '/dev/full' }, driver.context)
    .open(undefined)
    .then(
      () => undefined,
      (thrown: SpqrError) => thrown,
    )
  assert.match(error!.message, 'no regular file')
})

csv('the fields of the first record are the columns; what the source reads is what was written', async () => {
  const { emitter, driver, give } = await open({ path: at('o.csv') })
  await give(
    '{"name":"A, B","n":1.50,"x":{"y":[1]}}',
    '{"n":2,"name":"say \\"hi\\"\\nü"}',
    '{"name":null,"other":1}',
    'no',
    '[1]',
    undefined,
    '{"name":"","x":true}',
  )
  await emitter.flush()
  assert.is(text('o.csv'), 'name,n,x\n"A, B",1.50,"{""y"":[1]}"\n"say ""hi""\nü",2,\n,,true\n')
  assert.is(driver.deadLetters.length, 4)
  assert.match(driver.deadLetters[0]!.error.message, 'field "other" is no column')
  await emitter.stop()
  // Opened again, the header stands.
  const again = await open({ path: at('o.csv') })
  await again.give('{"x":1,"n":2}')
  await again.emitter.flush()
  assert.match(text('o.csv'), /true\n,2,1\n$/)
})

csv('any strings come back through the source', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.string(), fc.string()), { minLength: 1, maxLength: 20 }), async (rows) => {
      const name = `t${Math.random()}.csv`
      const { emitter, give } = await open({ path: at(name) })
      await give(...rows.map(([a, b]) => JSON.stringify({ a, 'b,"': b })))
      await emitter.flush()
      await emitter.stop()
      const driver = new BridgeDriver({ flags: [`--allow-read=${folder.path}`] })
      const source = fileSource.create({ path: at(name) }, driver.context)
      await source.open(undefined)
      const back = textsOf(await driver.pull(source)).map((t) => JSON.parse(t!))
      await source.stop()
      assert.equal(
        back,
        rows.map(([a, b]) => ({ a, 'b,"': b })),
      )
    }),
    { numRuns: 50 },
  )
})

places('what came after a checkpoint is cut off before it is written again', async () => {
  for (const settings of [{ path: at('o.log') }, { path: at('r.log'), rollBytes: 30 }]) {
    const lines = Array.from({ length: 100 }, (_, i) => `line ${i}`)
    const first = await open(settings)
    await first.give(...lines.slice(0, 40))
    const flushed = first.emitter.flush()
    await first.give(...lines.slice(40, 70))
    const position = JSON.parse(JSON.stringify(await flushed))
    await first.emitter.flush()
    await first.emitter.stop()
    const second = await open(settings, position)
    await second.give(...lines.slice(40))
    await second.emitter.flush()
    await second.emitter.stop()
    const stem = settings.path === at('o.log') ? 'o' : 'r-'
    const all = readdirSync(folder.path)
      .filter((n) => n.startsWith(stem))
      .sort()
      .map(text)
      .join('')
    assert.is(all, lines.map((l) => `${l}\n`).join(''))
  }
})

places('a position of another pipeline or path cuts nothing', async () => {
  const first = await open({ path: at('o.log') })
  await first.give('a')
  const position = await first.emitter.flush()
  await first.give('b')
  await first.emitter.flush()
  await first.emitter.stop()
  const fork = await open({ path: at('o.log') }, position, { pipeline: 'twin' })
  await fork.give('c')
  await fork.emitter.flush()
  await fork.emitter.stop()
  assert.is(text('o.log'), 'a\nb\nc\n')
})

places('a file that lost what was delivered to it is an error', async () => {
  const first = await open({ path: at('o.log') })
  await first.give('aaaa')
  const position = await first.emitter.flush()
  await first.emitter.stop()
  truncateSync(at('o.log'), 2)
  assert.is((await refusal({ path: at('o.log') }, position)).code, 'INVALID_STATE')
  appendFileSync(at('o.log'), 'xxxxxxxx')
  await open({ path: at('o.log') }, position)
})

places('format and rolling change in place, the path does not', async () => {
  const { emitter, give } = await open({ path: at('o.log') })
  await give('a')
  assert.ok(emitter.configure!({ path: at('o.log'), rollBytes: 1 }))
  assert.not.ok(emitter.configure!({ path: at('p.log') }))
  await give('b', 'c')
  await emitter.flush()
  assert.equal([text('o.log'), text('o-000001.log'), text('o-000002.log')], ['a\n', 'b\n', 'c\n'])
})

writing.run()
csv.run()
places.run()
