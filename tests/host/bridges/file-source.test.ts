import {
  appendFileSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { fileSource } from '../../../host/bridges/file-source.ts'
import { expandBraces, listFiles, matchesName } from '../../../host/bridges/glob.ts'
import type { PlainRecord } from '../../../host/record/record.ts'
import { SpqrError } from '../../../schemas/errors.ts'
import { BridgeDriver, testFolder, textsOf, until } from '../../support/bridge-driver.ts'

const files = suite('file source')
const resume = suite('file source: positions')
const csv = suite('file source: CSV')
const follow = suite('file source: follow')
const glob = suite('listFiles')

let folder = testFolder()
const setUp = (): void => {
  folder = testFolder()
}
const tearDown = (): void => folder.remove()
for (const s of [files, resume, csv, follow, glob]) {
  s.before.each(setUp)
  s.after.each(tearDown)
}

const put = (name: string, content: string | Uint8Array): string => {
  const path = join(folder.path, name)
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(path, content)
  return path
}

const newDriver = (options: ConstructorParameters<typeof BridgeDriver>[0] = {}): BridgeDriver =>
  new BridgeDriver({ flags: [`--allow-read=${folder.path}`], ...options })

async function read(
  settings: Record<string, unknown>,
  { position, driver = newDriver(), count }: { position?: unknown; driver?: BridgeDriver; count?: number } = {},
): Promise<{ records: PlainRecord[]; texts: (string | undefined)[]; driver: BridgeDriver }> {
  const source = fileSource.create(settings, driver.context)
  await source.open(position)
  const records = await driver.pull(source, count)
  await source.stop()
  return { records, texts: textsOf(records), driver }
}

async function refusal(settings: Record<string, unknown>, position?: unknown): Promise<SpqrError> {
  try {
    const { driver } = await read(settings, { position })
    if (driver.failure) return driver.failure
  } catch (error) {
    assert.instance(error, SpqrError)
    return error as SpqrError
  }
  throw new Error('was not refused')
}

files('lines of several files in name order, gzipped or not, end with the last', async () => {
  put('x/b.ndjson.gz', gzipSync('{"n":3}\n{"n":4}\n'))
  put('x/a.ndjson', '\ufeff{"n":1}\r\n\n  \n{"n":2}')
  put('x/c.jsonl', '')
  mkdirSync(join(folder.path, 'x', 'd.ndjson'))
  const { records, texts, driver } = await read({ path: join(folder.path, 'x', '*') })
  assert.equal(texts, ['{"n":1}', '{"n":2}', '{"n":3}', '{"n":4}'])
  assert.ok(driver.ended)
  assert.equal(
    records.map((r) => [r.source, r.sourceOffset]),
    [
      [0, 1],
      [0, 4],
      [1, 1],
      [1, 2],
    ],
  )
})

files('plain lines keep blank ones', async () => {
  const path = put('log', 'a\n\nb\r\n \n')
  assert.equal((await read({ path })).texts, ['a', '', 'b', ' '])
})

files('any lines, however they fall on the pieces that are read', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.oneof(
          { weight: 5, arbitrary: fc.string() },
          fc.integer({ min: 0, max: 300_000 }).map((n) => 'x'.repeat(n)),
        ),
        { maxLength: 12 },
      ),
      fc.boolean(),
      fc.boolean(),
      async (given, ended, gz) => {
        const lines = given.map((line) => `-${line.replace(/[\r\n]/g, '')}-`)
        const text = lines.join('\n') + (ended && lines.length > 0 ? '\n' : '')
        const path = put(gz ? 'any.gz' : 'any', gz ? gzipSync(text) : text)
        assert.equal((await read({ path, format: 'lines' })).texts, lines)
      },
    ),
    { numRuns: 60 },
  )
})

files('a line above the limit becomes a dead letter and the rest goes on', async () => {
  const driver = newDriver({ recordBytesMax: 1000 })
  const long = 'y'.repeat(700_000)
  const path = put('log', `a\n${'x'.repeat(952)}\n${'x'.repeat(953)}\n${long}\nb\n${long}`)
  const { texts } = await read({ path, format: 'lines' }, { driver })
  assert.equal(texts, ['a', 'x'.repeat(952), 'b'])
  assert.equal(
    driver.deadLetters.map((d) => [d.error.code, d.offset]),
    [
      ['RECORD_TOO_LARGE', 3],
      ['RECORD_TOO_LARGE', 4],
      ['RECORD_TOO_LARGE', 6],
    ],
  )
  assert.match(driver.deadLetters[1]!.error.message, '700000 bytes')
  assert.is(driver.deadLetters[1]!.value.length, 16 << 10)
})

files('keeps a rate', async () => {
  const path = put('log', Array.from({ length: 400 }, (_, i) => `${i}\n`).join(''))
  const driver = newDriver()
  const source = fileSource.create({ path, recordsPerSecond: 500 }, driver.context)
  await source.open(undefined)
  assert.ok((await driver.pull(source, 1)).length < 100)
  assert.ok(source.configure!({ path }))
  assert.not.ok(source.configure!({ path: '/x' }))
  await driver.pull(source)
  assert.ok(driver.ended)
  await source.stop()
})

files('timestampField gives the time of the record: ms, text or a date', async () => {
  const path = put(
    't.ndjson',
    [
      '{"at":{"ms":1700000000000}}',
      '{"at":{"ms":"2023-11-14T22:13:20.000Z"}}',
      '{"at":{"ms":"2023-11-14 22:13:20"}}',
      '{"at":{"ms":1700000000000.9}}',
      '{"at":1}',
      '{"at',
    ].join('\n'),
  )
  const { records, driver } = await read({ path, timestampField: 'at.ms' })
  assert.equal(
    records.slice(0, 4).map((r) => r.timestamp),
    Array(4).fill(1_700_000_000_000),
  )
  assert.ok(records.slice(4).every((r) => Math.abs(r.timestamp - Date.now()) < 60_000))
  assert.match(driver.logs[0]!, '2 records')
})

files('what is not permitted, not there or no file is said with its place', async () => {
  const path = put('a', 'x')
  symlinkSync('/etc/passwd', join(folder.path, 'link'))
  for (const p of [
    '/etc/passwd',
    '/etc/*',
    '../../../../etc/passwd',
    '/proc/self/environ',
    '/dev/zero',
    join(folder.path, 'link'),
  ]) {
    const error = await refusal({ path: p })
    assert.is(error.code, 'PERMISSION_DENIED', p)
    assert.match(error.message, '--allow-read=')
  }
  assert.is((await refusal({ path: `${path}-not` })).code, 'NOT_FOUND')
  assert.is((await refusal({ path: join(folder.path, '*.csv') })).issues?.[0]?.pointer, '/path')
  assert.match((await refusal({ path: folder.path })).message, 'no regular file')
  put('broken.gz', gzipSync('abc\n'.repeat(1000)).subarray(0, 30))
  assert.match((await refusal({ path: join(folder.path, 'broken.gz') })).message, 'no whole gzip file')
})

resume('goes on exactly after any chunk, in any format', async () => {
  const rows = Array.from({ length: 9000 }, (_, i) => (i % 1000 === 7 ? `${i},"a\nb"` : `${i},${'z'.repeat(i % 200)}`))
  put('r/a.csv', `i,pad\n${rows.slice(0, 3000).join('\n')}\n`)
  put('r/b.csv.gz', gzipSync(`i,pad\n${rows.slice(3000, 6000).join('\n')}`))
  put('r/c.csv', `i,pad\n${rows.slice(6000).join('\n')}`)
  for (const format of ['csv', 'lines'] as const) {
    const settings = { path: join(folder.path, 'r', '*'), format }
    const { texts } = await read(settings)
    let position: unknown
    const pieces: (string | undefined)[] = []
    for (let start = 0; start < 200; start++) {
      // A slow rate makes small chunks, so that positions fall everywhere.
      const driver = newDriver()
      const source = fileSource.create(
        start < 40 ? { ...settings, recordsPerSecond: 200_000 } : settings,
        driver.context,
      )
      await source.open(position)
      pieces.push(...textsOf(await driver.pull(source, start < 40 ? 1 : 500)))
      await source.stop()
      position = driver.position ?? position
      if (driver.ended) break
    }
    assert.equal(pieces, texts)
  }
})

resume('a file that changed underneath is an error, one that grew is read as it was', async () => {
  const path = put('a.log', 'one\ntwo\nthree\n')
  const settings = { path, recordsPerSecond: 1 }
  const position = async (): Promise<unknown> => (await read(settings, { count: 1 })).driver.position
  const before = await position()
  appendFileSync(path, 'four\n')
  assert.equal((await read({ path }, { position: before })).texts, ['two', 'three'])
  truncateSync(path, 4)
  assert.match((await refusal({ path }, before)).message, 'may only grow')
  writeFileSync(path, 'one\ntwo\nthree\n')
  const again = await position()
  utimesSync(path, 1, 1)
  assert.match((await refusal({ path }, again)).message, 'content was changed')
  const third = await position()
  writeFileSync(`${path}.new`, 'one\ntwo\nthree\n')
  renameSync(`${path}.new`, path)
  assert.match((await refusal({ path }, third)).message, 'another file')
  rmSync(path)
  assert.match((await refusal({ path }, third)).message, 'gone')
})

resume('a file cut or changed while it is read is an error, not an end', async () => {
  const path = put('a.log', `${'x'.repeat(99)}\n`.repeat(50_000))
  const driver = newDriver()
  const source = fileSource.create({ path }, driver.context)
  await source.open(undefined)
  await driver.pull(source, 1)
  truncateSync(path, 1_000_000)
  await driver.pull(source)
  await source.stop()
  assert.match(driver.failure!.message, 'may only grow')
  assert.not.ok(driver.ended)
})

csv('rows become objects of strings by the names of the header', async () => {
  const path = put(
    'c.csv',
    '\ufeffname,city,n\r\n"A, B",Köln,1\r\n"say ""hi""",Paris,\r\n\r\n"two\r\nlines",\\\t\u0001,x"y\r\n',
  )
  const { texts, records } = await read({ path })
  assert.equal(
    texts.map((t) => JSON.parse(t!)),
    [
      { name: 'A, B', city: 'Köln', n: '1' },
      { name: 'say "hi"', city: 'Paris', n: '' },
      { name: 'two\r\nlines', city: '\\\t\u0001', n: 'x"y' },
    ],
  )
  assert.equal(
    records.map((r) => r.sourceOffset),
    [2, 3, 5],
  )
})

csv('any table comes back', async () => {
  const field = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom('"', ',', '\n', '\r', 'a', 'ü') }))
  const quote = (text: string): string =>
    /[",\r\n]/.test(text) || text === '' ? `"${text.replaceAll('"', '""')}"` : text
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(field, { minLength: 1, maxLength: 4 }),
      fc.array(fc.array(field, { minLength: 4, maxLength: 4 })),
      fc.boolean(),
      async (names, table, crlf) => {
        const rows = [names, ...table.map((row) => row.slice(0, names.length))]
        const path = put('t.csv', rows.map((row) => row.map(quote).join(',')).join(crlf ? '\r\n' : '\n'))
        const { texts, driver } = await read({ path })
        assert.equal(driver.deadLetters, [])
        const wanted = rows.slice(1).map((row) => JSON.stringify(names.map((name, i) => [name, row[i]])))
        assert.equal(
          texts.map((t) => JSON.stringify(Object.entries(JSON.parse(t!)))).map(sortEntries),
          wanted.map(sortEntries),
        )
      },
    ),
    { numRuns: 150 },
  )
})

/** Names that are numbers come first in an object, whatever the text says. */
const sortEntries = (json: string): string =>
  JSON.stringify((JSON.parse(json) as [string, string][]).sort(([a], [b]) => (a < b ? -1 : 1)))

csv('rows that are none become dead letters with their line', async () => {
  const path = put(
    'c.csv',
    Buffer.concat([
      Buffer.from('a,b\n1,2\n1\n"x"y,2\n1,2,3\n'),
      Buffer.from([255, 44, 50, 10]),
      Buffer.from('3,4\n"open,5\n6,7\n'),
    ]),
  )
  const { texts, driver } = await read({ path })
  assert.equal(texts, ['{"a":"1","b":"2"}', '{"a":"3","b":"4"}', '{"a":"6","b":"7"}'])
  assert.equal(
    driver.deadLetters.map((d) => [d.error.code, d.offset]),
    [3, 4, 5, 6, 8].map((line) => ['INVALID_RECORD', line]),
  )
  assert.match(driver.deadLetters[0]!.error.message, 'it has 1 fields, the header names 2')
  assert.match((await refusal({ path: put('d.csv', 'a,a\n') })).message, 'names the column "a" twice')
})

csv('timestampField is a column', async () => {
  const path = put('c.csv', 'a,when\nx,2023-11-14T22:13:20Z\n')
  assert.is((await read({ path, timestampField: 'when' })).records[0]!.timestamp, 1_700_000_000_000)
  assert.match((await refusal({ path, timestampField: 'wen' })).message, 'no column "wen"')
})

follow('reads on as the file grows, line by whole line, and then the next one', async () => {
  const path = put('f/a.log', 'one\ntw')
  const driver = newDriver()
  const source = fileSource.create({ path: join(folder.path, 'f', '*.log'), follow: true }, driver.context)
  await source.open(undefined)
  const seen = textsOf(await driver.pull(source, 1))
  appendFileSync(path, 'o\nthree\nlast')
  seen.push(...textsOf(await driver.pull(source, 2)))
  put('f/b.log', 'four\n')
  seen.push(...textsOf(await driver.pull(source, 2)))
  appendFileSync(join(folder.path, 'f', 'b.log'), 'five\n')
  seen.push(...textsOf(await driver.pull(source, 1)))
  assert.equal(seen, ['one', 'two', 'three', 'last', 'four', 'five'])
  await source.stop()
  // And from its position, with what came meanwhile.
  appendFileSync(join(folder.path, 'f', 'b.log'), 'six\n')
  const again = newDriver()
  const second = fileSource.create({ path: join(folder.path, 'f', '*.log'), follow: true }, again.context)
  await second.open(driver.position)
  assert.equal(textsOf(await again.pull(second, 1)), ['six'])
  await second.stop()
})

follow('a pattern that names nothing yet waits for its first file', async () => {
  const driver = newDriver()
  const source = fileSource.create({ path: join(folder.path, '*.log'), follow: true }, driver.context)
  await source.open(undefined)
  const pulled = driver.pull(source, 1)
  put('a.log', 'hello\n')
  assert.equal(textsOf(await pulled), ['hello'])
  await source.stop()
})

follow('a rotated or cut file is an error', async () => {
  for (const act of [(path: string) => truncateSync(path, 2), (path: string) => renameSync(path, `${path}.1`)]) {
    const path = put('f.log', 'one\n')
    const driver = newDriver()
    const source = fileSource.create({ path, follow: true }, driver.context)
    await source.open(undefined)
    await driver.pull(source, 1)
    act(path)
    await until(() => driver.failure !== undefined, 'the change is seen')
    assert.match(driver.failure!.message, /may only grow|vanished/)
    await source.stop()
  }
})

glob('stars, question marks, folders at any depth, alternatives', async () => {
  for (const name of ['a.log', 'b.log', 'b.txt', '.hidden.log', 'd/a.log', 'd/e/f.log', 'd{1}.log']) put(name, '')
  const list = async (pattern: string): Promise<string[]> =>
    (await listFiles(`${folder.path}/${pattern}`)).map((p) => p.slice(folder.path.length + 1))
  assert.equal(await list('*.log'), ['a.log', 'b.log', 'd{1}.log'])
  assert.equal(await list('?.log'), ['a.log', 'b.log'])
  assert.equal(await list('**/*.log'), ['a.log', 'b.log', 'd/a.log', 'd/e/f.log', 'd{1}.log'])
  assert.equal(await list('d/**'), ['d/a.log', 'd/e/f.log'])
  assert.equal(await list('*/a.log'), ['d/a.log'])
  assert.equal(await list('{b,x{a,b}}.{log,txt}'), ['b.log', 'b.txt'])
  assert.equal(await list('.*.log'), ['.hidden.log'])
  assert.equal(await list('d{1}.log'), ['d{1}.log'])
  assert.equal(await list('nope/*.log'), [])
  for (const name of ['p1.csv', 'p2.csv', 'p[1].csv', 'p-.csv', 's[1]/x.csv', 's1/x.csv']) put(name, '')
  assert.equal(await list('p[0-9].csv'), ['p1.csv', 'p2.csv'])
  assert.equal(await list('p[!0-1].csv'), ['p-.csv', 'p2.csv'])
  assert.equal(await list('*[]2-].csv'), ['p-.csv', 'p2.csv', 'p[1].csv'])
  assert.equal(await list('p[1].csv'), ['p[1].csv'])
  assert.equal(await list('{p[2],p[1]}.csv'), ['p2.csv', 'p[1].csv'])
  assert.equal(await list('s[1]/*.csv'), ['s[1]/x.csv'])
  assert.equal(await list('s[0-9]/*.csv'), ['s1/x.csv'])
  assert.equal(await list('p[.csv'), [])
  // What cannot be a file is none.
  assert.equal(await list('n'.repeat(300)), [])
  assert.equal(await list('a.log/*/x'), [])
})

glob('matches as a regular expression would', () => {
  const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '*', '?', '.', '[a-b]', '[!a]', '[.b]'), maxLength: 8 })
  const name = fc.string({ unit: fc.constantFrom('a', 'b', '.'), maxLength: 8 })
  fc.assert(
    fc.property(pattern, name, (p, n) => {
      fc.pre(!n.startsWith('.'))
      const dots = p.replaceAll(/\[[^\]]*\]|\./g, (part) => (part === '.' ? '\\.' : part.replace('!', '^')))
      const regex = new RegExp(`^${dots.replaceAll('*', '[^]*').replaceAll('?', '[^]')}$`)
      assert.is(matchesName(p, n), regex.test(n))
    }),
    { numRuns: 2000 },
  )
  // Would take longer than the universe by backtracking over every star.
  assert.not.ok(matchesName(`${'*a'.repeat(40)}b`, 'a'.repeat(250)))
  assert.throws(() => expandBraces('{a,b}'.repeat(20)), /braces/)
  assert.equal(expandBraces('a{b,c{d,e}}{'), ['ab{', 'acd{', 'ace{'])
})

files.run()
resume.run()
csv.run()
follow.run()
glob.run()
