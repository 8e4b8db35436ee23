import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { jsonItems } from '../../schemas/json-items.ts'

const test = suite('jsonItems')

test('each item is the text that it was', () => {
  const text = '{"records":[ 12345678901234567890 , {"a":[1,2],"b":"],\\\\"}, "x,\\"y" ,[],\n{}],"next":{"0":"1"}}'
  assert.equal(jsonItems(text, text.indexOf('[')), [
    '12345678901234567890',
    '{"a":[1,2],"b":"],\\\\"}',
    '"x,\\"y"',
    '[]',
    '{}',
  ])
  assert.equal(jsonItems('[]', 0), [])
  assert.equal(jsonItems('[{"a":\r\n1}]', 0), ['{"a": 1}'])
})

test('whatever the items are, they come back', () => {
  fc.assert(
    fc.property(fc.array(fc.jsonValue()), fc.constantFrom('', '{"before":"\\\\",'), (items, before) => {
      const texts = items.map((item) => JSON.stringify(item))
      assert.equal(jsonItems(`${before}[${texts.join(' , ')}]`, before.length), texts)
    }),
  )
})

test.run()
