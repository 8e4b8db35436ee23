import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Product } from '../support/delivery.ts'

const large = suite('records that are large')
const product = await Product.start()
const { client } = product
large.after(() => product.remove())

large('pass where the http source takes them, and are refused above what it says', async () => {
  await client.topics('large')
  const most = 4 << 20
  await client.ok('POST', '/v1/pipelines', {
    id: 'large',
    components: [
      { id: 'in', source: 'http', settings: { maxRecordBytes: most } },
      { id: 'f', operator: 'json-filter', from: 'in', settings: { where: [{ path: 'a', equals: 1 }] } },
      { id: 'out', emitter: 'topic', from: 'f', settings: { topic: 'large' } },
    ],
  })
  const ofBytes = (bytes: number): string => `{"a":1,"x":"${'y'.repeat(bytes - 14)}"}`
  const post = (text: string): ReturnType<typeof client.ask> =>
    client.ask('POST', '/v1/pipelines/large/ingest/in', text, 'application/x-ndjson')
  assert.is((await post(ofBytes(most + 1))).status, 413)
  for (const bytes of [most, 20, 1 << 20]) assert.is((await post(ofBytes(bytes))).status, 202)
  const lengths = (await client.recordsOnce('large', 3)).map(({ value }) => JSON.stringify(value).length)
  assert.equal(lengths, [most, 20, 1 << 20])
})

large.run()
