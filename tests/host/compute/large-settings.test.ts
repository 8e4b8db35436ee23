// The largest settings that a document may have, through the API of the product: what an operator can take in is taken in,
// what it cannot is refused at its place.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DOCUMENT_LIMITS } from '../../../schemas/document.ts'
import { Product } from '../../support/delivery.ts'

const large = suite('settings of a megabyte')
const product = await Product.start()
const { client } = product
large.after(() => product.remove())

/** A list of values that fills a body up to the limit. */
function upTo(bytes: number, value: (n: number) => unknown): unknown[] {
  const size = JSON.stringify(value(0)).length + 1
  return Array.from({ length: Math.floor(bytes / size) }, (_, n) => value(n))
}

/** One list may have 10,000 values: so many as it takes. */
function settings(values: unknown[]): object {
  const lists = Array.from({ length: Math.ceil(values.length / 10_000) }, (_, i) => ({
    path: 'n',
    in: values.slice(i * 10_000, (i + 1) * 10_000),
  }))
  return { where: [{ any: lists }] }
}

const document = (id: string, list: unknown[]): object => ({
  id,
  components: [
    { id: 'in', source: 'http' },
    { id: 'f', operator: 'json-filter', from: 'in', settings: settings(list) },
    { id: 'out', emitter: 'topic', from: 'f', settings: { topic: id } },
  ],
})
/** Besides the list. */
const REST_BYTES = 4000
const LIST_BYTES = DOCUMENT_LIMITS.textBytes - REST_BYTES

large('are taken in where they are a list to look values up in, at the start and at each change', async () => {
  const [numbers, texts] = [upTo(LIST_BYTES, (n) => 100_000 + n), upTo(LIST_BYTES, (n) => String(100_000 + n))]
  await client.topics('in')
  await client.ok('POST', '/v1/pipelines', document('in', numbers))
  const send = (value: unknown): Promise<unknown> =>
    client.ok('POST', '/v1/pipelines/in/ingest/in', `${JSON.stringify({ n: value })}\n`, 'application/x-ndjson')
  const [number, last, text] = [numbers[1], numbers.at(-1), texts[1]]
  for (const value of [number, null, last]) await send(value)
  assert.equal(
    (await client.recordsOnce('in', 2)).map(({ value }) => value.n),
    [number, last],
  )
  // Twice: an operator has the old ones until it has the new ones.
  for (const list of [texts, texts.slice(1)])
    await client.ok('PATCH', '/v1/pipelines/in/components/f', { settings: settings(list) })
  for (const value of [null, text]) await send(value)
  assert.equal(
    (await client.recordsOnce('in', 3)).map(({ value }) => value.n),
    [number, last, text],
  )
})

large(
  'are refused where they are too many values for the memory of an operator, with the limit and the place',
  async () => {
    await client.topics('many')
    const ones = upTo(LIST_BYTES, () => 1)
    const refused = await client.ask('POST', '/v1/pipelines', document('many', ones))
    assert.equal([refused.status, refused.body.code], [422, 'INVALID_DOCUMENT'])
    assert.is(refused.body.issues[0].pointer, '/components/1/settings')
    assert.match(
      refused.body.issues[0].message,
      /^starting with these 1\d{6} bytes of settings takes more (work|memory) than/,
    )

    await client.ok('POST', '/v1/pipelines', document('many', [1]))
    const patched = await client.ask('PATCH', '/v1/pipelines/many/components/f', { settings: settings(ones) })
    assert.equal([patched.status, patched.body.code], [422, 'INVALID_DOCUMENT'])
    assert.match(patched.body.issues[0].message, /make them shorter/)
    // It goes on as it was.
    await client.ok('POST', '/v1/pipelines/many/ingest/in', '{"n":2}\n{"n":1}\n', 'application/x-ndjson')
    assert.equal(
      (await client.recordsOnce('many', 1)).map(({ value }) => value.n),
      [1],
    )
  },
)

large.run()
