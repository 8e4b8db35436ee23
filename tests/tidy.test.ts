// Holds the rules that the layout rests on: which folder may import which, no cycles, words that may not stay.

import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')

/** Where a package may be named. */
const PACKAGE_HOME: Record<string, RegExp> = {
  kafkajs: /^(host\/transport\/kafka|tests)\//,
  hono: /^(host\/http|manager\/http|tests)\//,
  '@hono/node-server': /^(host\/http|manager\/http|tests)\//,
  libsql: /^(host\/transport\/embedded|manager\/store|tests)\//,
}

interface Source {
  file: string
  text: string
  imports: string[]
}

const sources: Source[] = ['schemas', 'host', 'manager', 'tests', 'wasm-operators']
  .flatMap((folder) => list(join(root, folder)))
  .filter((file) => file.endsWith('.ts'))
  .map((path) => {
    const file = relative(root, path)
    const text = readFileSync(path, 'utf8')
    const imports = [...text.matchAll(/^\s*(?:import\s*|(?:import|export)\b[^'"\n]*?\bfrom\s*)['"]([^'"]+)['"]/gm)].map(
      (m) => m[1]!,
    )
    const multiline = [...text.matchAll(/^\}\s*from\s*['"]([^'"]+)['"]/gm)].map((m) => m[1]!)
    const dynamic = [...text.matchAll(/\bimport\(\s*['"]([^'"]+)['"]/g)].map((m) => m[1]!)
    return { file, text, imports: [...imports, ...multiline, ...dynamic] }
  })

const target = (from: string, specifier: string): string | undefined =>
  specifier.startsWith('.') ? normalize(join(dirname(from), specifier)) : undefined

test('schemas import valibot and each other only', () => {
  for (const { file, imports } of sources.filter((s) => s.file.startsWith('schemas/'))) {
    for (const name of imports) {
      const to = target(file, name)
      const allowed = to ? to.startsWith('schemas/') : ['valibot', '@valibot/to-json-schema', 'yaml'].includes(name)
      assert.ok(allowed, `${file} imports ${name}`)
    }
  }
})

test('host and manager meet over HTTP only; the command that starts both is the one place that imports both', () => {
  for (const { file, imports } of sources) {
    for (const name of imports) {
      const to = target(file, name)
      if (!to) continue
      if (file.startsWith('host/')) assert.ok(!/^(manager|tests)\//.test(to), `${file} imports ${name}`)
      if (file.startsWith('manager/')) assert.ok(!to.startsWith('tests/'), `${file} imports ${name}`)
      if (file.startsWith('manager/') && !file.startsWith('manager/cli/start/')) {
        assert.ok(!to.startsWith('host/'), `${file} imports ${name}`)
      }
      if (/^(host|manager|schemas)\//.test(file) && to.startsWith('wasm-operators/')) {
        assert.is(to, 'wasm-operators/abi.ts', `${file} imports ${name}`)
      }
    }
  }
})

test('a package is named in one place', () => {
  for (const { file, imports } of sources) {
    for (const name of imports) {
      const base = name.startsWith('@') ? name.split('/').slice(0, 2).join('/') : name.split('/')[0]!
      const home = Object.hasOwn(PACKAGE_HOME, base) ? PACKAGE_HOME[base] : undefined
      if (home) assert.ok(home.test(file), `${file} imports ${name}`)
    }
  }
})

test('no import cycle', () => {
  const edges = new Map(
    sources.map((s) => {
      // A type import vanishes when compiled.
      const text = s.text
        .replace(/^import type [\s\S]*?from '[^']+'/gm, '')
        .replace(/^export type \{[\s\S]*?from '[^']+'/gm, '')
      return [
        s.file,
        s.imports
          .filter((i) => text.includes(`'${i}'`))
          .map((i) => target(s.file, i))
          .filter((t) => t !== undefined),
      ]
    }),
  )
  const state = new Map<string, 'open' | 'done'>()
  const visit = (file: string, path: string[]): void => {
    if (state.get(file) === 'done') return
    assert.ok(state.get(file) !== 'open', `cycle: ${[...path, file].join(' → ')}`)
    state.set(file, 'open')
    for (const next of edges.get(file) ?? []) visit(next, [...path, file])
    state.set(file, 'done')
  }
  for (const { file } of sources) visit(file, [])
})

test('words that may not stay', () => {
  const banned = [/\bFIX[M]E\b/, /@ts-ignor[e]/, /\.onl[y]\(/]
  const bannedInCode = [/:\s*an[y]\b/, /\bas an[y]\b/, /<an[y]>/]
  for (const { file, text } of sources) {
    for (const word of banned) assert.not.ok(word.test(text), `${file} has ${word.source}`)
    // Prose may say what code may not.
    const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '')
    for (const word of bannedInCode) assert.not.ok(word.test(code), `${file} has ${word.source}`)
  }
})

test('no test imports are left out: each test file runs its suites', () => {
  for (const { file, text } of sources.filter((s) => s.file.endsWith('.test.ts'))) {
    const suites = [...text.matchAll(/^const (\w+) = suite\b/gm)].map((m) => m[1]!)
    const names = [...suites, ...(/import \{[^}]*\btest\b[^}]*\} from 'uvu'/.test(text) ? ['test'] : [])]
    assert.ok(names.length > 0, `${file} has no suite`)
    for (const name of names) assert.ok(text.includes(`${name}.run()`), `${file}: ${name}.run() is missing`)
  }
})

function list(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? list(join(folder, entry.name)) : [join(folder, entry.name)],
  )
}

test.run()
