import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { dataFolder } from '../../../../manager/cli/start/data-folder.ts'
import { SpqrError } from '../../../../schemas/errors.ts'

const test = suite<{ folder: string }>('data folder')
test.before.each((context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'spqr-data-'))
})
test.after.each(({ folder }) => rmSync(folder, { recursive: true, force: true }))

function refusal(path: string): string {
  try {
    dataFolder(path)
  } catch (error) {
    assert.instance(error, SpqrError)
    return (error as SpqrError).message
  }
  throw new Error(`"${path}" was taken`)
}

test('is made with those above it, and left empty', ({ folder }) => {
  const data = join(folder, 'a', 'b', 'c')
  assert.is(dataFolder(data), data)
  assert.is(dataFolder(data), data, 'one that is there is taken as it is')
  assert.equal(readdirSync(data), [])
})

test('a file in its way is named as one', ({ folder }) => {
  writeFileSync(join(folder, 'file'), '')
  for (const path of [join(folder, 'file'), join(folder, 'file', 'below', 'it')]) {
    assert.match(refusal(path), `Cannot keep data in "${path}": that is a file; name another folder with --data.`)
  }
})

test('where nothing can be made or written it is refused at once', () => {
  if (!existsSync('/proc/self')) return
  for (const path of ['/proc/spqr/data', '/proc/spqr', '/proc']) {
    assert.match(
      refusal(path),
      /^Cannot keep data in "\/proc[a-z/]*": it cannot be (made|written) \([A-Z]+\); name another/,
    )
  }
})

test.run()
