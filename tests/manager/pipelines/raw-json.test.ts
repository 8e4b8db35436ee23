import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { rawElements, rawMember } from '../../../manager/pipelines/raw-json.ts'

const raw = suite('parts of a JSON text')

raw('come out as they are written', () => {
  const text = ' { "a\\u0062" : 1E+2 , "x":{"y":"}]\\"","z":[ 1.10, {} ]} ,"n":9007199254740993,"n" : -0 } '
  assert.is(rawMember(text, 'ab'), '1E+2')
  assert.is(rawMember(text, 'x'), '{"y":"}]\\"","z":[ 1.10, {} ]}')
  assert.is(rawMember(text, 'n'), '-0')
  assert.is(rawMember(text, 'none'), undefined)
  assert.is(rawMember('[1]', 'x'), undefined)
  assert.is(rawMember('{}', 'x'), undefined)
  assert.equal(rawElements('[ "a,]" , 1e400,{"b":[]},\n[] ]'), ['"a,]"', '1e400', '{"b":[]}', '[]'])
  assert.equal(rawElements(' [ ] '), [])
})

raw('are those of any value', () => {
  fc.assert(
    fc.property(fc.array(fc.jsonValue()), fc.constantFrom(undefined, 1), (list, indent) => {
      assert.equal(
        rawElements(JSON.stringify(list, null, indent)).map((text) => JSON.parse(text)),
        JSON.parse(JSON.stringify(list)),
      )
      const object = Object.fromEntries(list.map((value, i) => [`k"${i}`, value]))
      const text = JSON.stringify(object, null, indent)
      list.forEach((value, i) => {
        assert.equal(JSON.parse(rawMember(text, `k"${i}`)!), JSON.parse(JSON.stringify(value)))
      })
    }),
  )
})

raw('may be long', () => {
  const long = JSON.stringify('\\"x'.repeat(500_000))
  assert.is(rawMember(`{"a":${long}}`, 'a'), long)
})

raw.run()
