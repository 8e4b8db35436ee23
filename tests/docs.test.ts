// Holds docs/pipelines.md to the schemas: every component with its description, ports and settings, and what each takes.
// And every link between the documents leads somewhere.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { shippedCatalog } from '../schemas/catalog.ts'
import { checkDocument } from '../schemas/check-document.ts'
import { RECORD_FAULTS } from '../schemas/errors.ts'
import { readDocument } from '../schemas/read-document.ts'
import { everyComponent, settingRows } from './support/component-reference.ts'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
const read = (file: string): string => readFileSync(join(root, file), 'utf8')

const reference = suite('docs/pipelines.md')
const text = read('docs/pipelines.md')

for (const type of everyComponent()) {
  reference(`tells of ${type.kind} ${type.name} what its schema says`, () => {
    const section = text.split(`\n### ${type.kind} ${type.name}\n`)[1]?.split(/\n##+ /)[0]
    assert.ok(section, 'no such section')
    assert.ok(section.includes(type.description), `its description is: ${type.description}`)
    const told = [...section.matchAll(/^\| `(\w+)` \| (.*?) \| .*\|$/gm)].map(([, name, takes]) => ({ name, takes }))
    assert.equal(told, settingRows(type))
    if (type.kind !== 'operator') return
    const ports = type.name === 'route' ? ['unmatched'] : type.ports({})
    for (const port of ports) assert.match(section, new RegExp(`Ports: .*\`${port}\``))
  })
}

reference('tells every code of a dead letter', () => {
  assert.equal([...text.matchAll(/^\| `([A-Z_]+)` \|/gm)].map((row) => row[1]).sort(), [...RECORD_FAULTS].sort())
})

const documents = suite('documents and examples')
const catalog = shippedCatalog('1.0.0')
const examples = readdirSync(join(root, 'examples')).filter((file) => file.endsWith('.yaml'))

documents('every example is a document without a problem', () => {
  assert.ok(examples.length >= 4)
  for (const file of examples) {
    const parsed = readDocument(read(`examples/${file}`), 'application/yaml')
    assert.not.ok(parsed.issues, file)
    const checked = checkDocument(parsed.issues ? undefined : parsed.value, catalog)
    assert.equal([file, checked.issues], [file, undefined])
  }
})

documents('every link leads to a file and a heading that are there', () => {
  const files = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...markdownIn('docs'), ...markdownIn('examples')]
  for (const file of files) {
    for (const [, to] of read(file).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (to!.includes('://')) continue
      const [path = '', anchor] = to!.split('#')
      const target = path === '' ? file : join(dirname(file), path)
      assert.ok(existsSync(join(root, target)), `${file} links to ${to}`)
      if (anchor === undefined) continue
      assert.ok(anchorsOf(read(target)).has(anchor), `${file} links to ${to}`)
    }
  }
})

function markdownIn(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory()
      ? markdownIn(join(folder, entry.name))
      : /\.md$/.test(entry.name)
        ? [join(folder, entry.name)]
        : [],
  )
}

function anchorsOf(markdown: string): Set<string> {
  const headings = [...markdown.matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
    title!
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .replaceAll(' ', '-'),
  )
  return new Set([...headings, ...[...markdown.matchAll(/<a id="([^"]+)">/g)].map((found) => found[1]!)])
}

reference.run()
documents.run()
