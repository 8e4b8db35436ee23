// Where a document may name a secret: in the address and headers of an emitter `http` and the log-in of `kafka`, which hand it to nobody else. Operators
// are untrusted code whose records can be looked at, so they are never given one.
// Runs on: control.

import type { DocumentComponent, PipelineDocument } from '../../schemas/document.ts'
import type { Issue } from '../../schemas/errors.ts'
import { mayRefer } from '../../schemas/references.ts'

const SECRET = /\$\{secret:([^}]*)\}/g

/** @param isThere whether the tenant has a secret of this name @returns a problem for each use that cannot be */
export function secretProblems(document: PipelineDocument, isThere: (name: string) => boolean): Issue[] {
  const issues: Issue[] = []
  document.components.forEach((component, i) => {
    if (component.settings === undefined || !mayRefer(component.settings)) return
    const base = `/components/${i}/settings`
    visit(component.settings, base, (text, pointer) => {
      for (const [, name] of text.matchAll(SECRET)) {
        const rest = pointer.slice(base.length)
        const mayHave = takesSecret(component, rest)
        if (!mayHave) {
          issues.push({
            pointer,
            message: 'a secret may stand in "url" and "headers" of an emitter http and in "sasl" of kafka alone',
          })
        } else if (!isThere(name!)) {
          const remedy = 'put it first: spqr tenant secret TENANT NAME'
          issues.push({ pointer, message: `there is no secret "${name!.slice(0, 80)}"; ${remedy}` })
        }
      }
    })
  })
  return issues
}

function takesSecret({ source, emitter }: DocumentComponent, setting: string): boolean {
  if (emitter === 'http') return setting === '/url' || setting.startsWith('/headers/')
  return (source === 'kafka' || emitter === 'kafka') && setting.startsWith('/sasl/')
}

function visit(value: unknown, pointer: string, onText: (text: string, pointer: string) => void): void {
  if (typeof value === 'string') {
    if (value.includes('${')) onText(value, pointer)
  } else if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) visit(item, `${pointer}/${i}`, onText)
  } else if (value !== null && typeof value === 'object') {
    for (const [key, item] of Object.entries(value)) {
      visit(item, `${pointer}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`, onText)
    }
  }
}
