// The index of attacks is whole: what it names exists, what exists is named, and no row is without an attack.

import { readdirSync, readFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ATTACKS } from './attack-index.ts'

const FOLDER = 'tests/sandbox/attacks'
const index = suite('the index of attacks')

index('names tests that exist, each once', () => {
  const seen = new Set<string>()
  for (const { tests } of ATTACKS) {
    for (const [file, names] of Object.entries(tests)) {
      const text = readFileSync(file, 'utf8')
      for (const name of names) {
        assert.ok(text.includes(`'${name}'`) || text.includes(`"${name}"`), `${file} has no "${name}"`)
        assert.not(seen.has(`${file}: ${name}`), `"${name}" stands in two rows`)
        seen.add(`${file}: ${name}`)
      }
    }
  }
})

index('names every test of this folder', () => {
  for (const file of readdirSync(FOLDER, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.test.ts') || file.startsWith('attack-index')) continue
    const path = `${FOLDER}/${file.replaceAll('\\', '/')}`
    const named = new Set(ATTACKS.flatMap(({ tests }) => tests[path] ?? []))
    const text = readFileSync(path, 'utf8')
    const names = [...text.matchAll(/^\w+\(\s*(?:'([^'\n]+)'|"([^"\n]+)"),/gm)].map((match) => match[1] ?? match[2]!)
    const missing = names.filter((name) => !named.has(name))
    assert.equal(missing, [], path)
    assert.is(names.length, named.size, path)
  }
})

index('has forty attacks and more, and some on every row', () => {
  const counts = ATTACKS.map(({ tests }) => Object.values(tests).flat().length)
  assert.is(ATTACKS.length, 12)
  assert.ok(Math.min(...counts) >= 3, counts.join())
  assert.ok(counts.reduce((sum, count) => sum + count, 0) >= 40, counts.join())
})

index.run()
