// What the command prints: tables for people, JSON for programs, problems with their places.

import Table from 'cli-table3'
import pc from 'picocolors'
import { type Issue, SpqrError } from '../../schemas/errors.ts'

export function print(text: string): void {
  process.stdout.write(lineOf(text))
}

export function printError(text: string): void {
  process.stderr.write(lineOf(text))
}

const lineOf = (text: string): string => harmless(text.endsWith('\n') ? text : `${text}\n`)

/** What steers a terminal, with the rest of a colour that is one of ours. */
const STEERING = /\p{Cc}(?:\[(?:[12]|22|3[1-6]|39)m)?/gu
const ESCAPE = 0x1b

/**
 * Text with nothing in it that would steer a terminal: what is printed may be an operator's, or another tenant's. Written as
 * JSON writes it, so that JSON stays the same.
 */
export function harmless(text: string): string {
  return text.replace(STEERING, (found) => {
    const code = found.charCodeAt(0)
    if (code === ESCAPE ? found.length > 1 : found[0] === '\n' || found[0] === '\t') return found
    return `\\u${code.toString(16).padStart(4, '0')}${found.slice(1)}`
  })
}

/** What `--json` is of a command whose answer has no body. */
export const SILENT = 'print nothing but a problem'

export const printJson = (value: unknown): void => print(JSON.stringify(value, null, 2))

const PLAIN = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
}
const BARE = {
  ...PLAIN,
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
}

/** Columns without lines; numbers stand right. */
export function tableOf(head: string[], rows: (string | number | undefined)[][]): string {
  const right = head.map((_, column) => rows.length > 0 && rows.every((row) => typeof row[column] !== 'string'))
  const table = new Table({
    head: head.map((title) => pc.bold(title)),
    chars: { ...BARE, middle: '  ' },
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
    colAligns: right.map((is) => (is ? 'right' : 'left')),
  })
  for (const row of rows) table.push(row.map((cell) => (typeof cell === 'number' ? grouped(cell) : (cell ?? ''))))
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
}

const grouped = (n: number): string => n.toLocaleString('en-US', { maximumFractionDigits: 1 })

const STATE_COLOURS: Record<string, (text: string) => string> = {
  running: pc.green,
  completed: pc.green,
  failed: pc.red,
  paused: pc.yellow,
  stopped: pc.dim,
}

export const coloured = (state: string): string => (STATE_COLOURS[state] ?? pc.cyan)(state)

/** `FILE:LINE:COLUMN: message`, as compilers and editors have it. */
export function placed(file: string, issue: Issue, kind?: string): string {
  const at = `${file}:${issue.line ?? 1}:${issue.column ?? 1}`
  const what = issue.pointer ? `${issue.pointer} ` : ''
  return `${pc.bold(at)}: ${kind ? `${kind}: ` : ''}${what}${issue.message}`
}

/** An error in words: its sentence, then each issue. */
export function errorText(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  const lines = [`${pc.red('error:')} ${message}`]
  if (error instanceof SpqrError) {
    for (const { pointer, message: problem, line, column } of error.issues ?? []) {
      const at = line === undefined ? '' : `${line}:${column ?? 1} `
      lines.push(`  ${at}${pointer || '/'}: ${problem}`)
    }
  }
  return lines.join('\n')
}

/** ms since 1970 as people read it. */
export const timeText = (ms: unknown): string =>
  typeof ms === 'number' ? new Date(ms).toISOString() : String(ms ?? '')
