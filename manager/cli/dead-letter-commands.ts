// spqr pipeline dead-letters …

import type { Command } from 'commander'
import { ApiClient } from './api-client.ts'
import { print, printJson, tableOf, timeText } from './output.ts'
import { pathOf } from './paths.ts'
import { countOf } from './values.ts'

interface Letter {
  offset: string
  timestamp: number
  value: { code: string; message: string; component: string; stack?: unknown; record?: unknown }
}

interface Page {
  items: Letter[]
  next?: string
}

export function deadLetterCommands(pipeline: Command): void {
  const letters = pipeline.command('dead-letters').description('what a pipeline could not process')

  letters
    .command('ls')
    .description('list them, oldest first')
    .argument('<id>')
    .option('--limit <n>', 'so many', countOf, 100)
    .option('--after <offset>', 'those after this one')
    .option('--json', "print the API's answer")
    .action(async (id: string, options: { limit: number; after?: string; json?: boolean }) => {
      const page = await read(id, options.limit, options.after)
      if (options.json) return printJson(page)
      const rows = page.items.map(({ offset, timestamp, value }) => [
        offset,
        timeText(timestamp),
        value.component,
        value.code,
        value.message,
      ])
      print(tableOf(['OFFSET', 'TIME', 'COMPONENT', 'CODE', 'MESSAGE'], rows))
      if (page.next !== undefined) print(`more: --after ${page.next}`)
    })

  letters
    .command('show')
    .description('show one with its record and its stack')
    .argument('<id>')
    .argument('<offset>')
    .option('--json', 'as without it')
    .action(async (id: string, offset: string) => {
      const before = /^\d{1,19}$/.test(offset) && BigInt(offset) > 0n ? String(BigInt(offset) - 1n) : undefined
      const [letter] = (await read(id, 1, before)).items
      if (letter?.offset !== offset) throw new Error(`There is no dead letter ${offset} of "${id}".`)
      printJson(letter)
    })

  letters
    .command('replay')
    .description('give their records to where they came in, once more')
    .argument('<id>')
    .option('--json', "print the API's answer")
    .action(async (id: string, { json }: { json?: boolean }) => {
      const done = await new ApiClient().json<{ replayed: number; skipped: number }>(
        'POST',
        pathOf(id, '/dead-letters/replay'),
      )
      if (json) return printJson(done)
      const skipped = done.skipped ? `; ${done.skipped} came from a source that takes nothing back` : ''
      print(`replayed ${done.replayed}${skipped}`)
    })
}

function read(id: string, limit: number, after?: string): Promise<Page> {
  const query = new URLSearchParams({ limit: String(limit), ...(after === undefined ? {} : { after }) })
  return new ApiClient().json<Page>('GET', pathOf(id, `/dead-letters?${query}`))
}
