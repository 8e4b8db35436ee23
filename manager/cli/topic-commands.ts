// spqr topic …

import type { Command } from 'commander'
import { ApiClient, jsonBody } from './api-client.ts'
import { print, printJson, SILENT, tableOf } from './output.ts'
import { topicPath } from './paths.ts'
import { type ConsumeOptions, consume, type ProduceOptions, produce } from './topic-records.ts'
import { countOf } from './values.ts'

interface Topic {
  name: string
  partitions: number
  retentionMs?: number
  retentionBytes?: number
  compact?: boolean
}

interface Json {
  json?: boolean
}

export function topicCommands(program: Command): void {
  const topic = program.command('topic').description('topics of the transport')

  topic
    .command('ls')
    .description('list topics')
    .option('--json', "print the API's answer")
    .action(async ({ json }: Json) => {
      const items = await new ApiClient().all<Topic>('/v1/topics')
      if (json) return printJson({ items })
      const rows = items.map((t) => [t.name, t.partitions, retentionText(t), t.compact ? 'compacted' : ''])
      print(tableOf(['NAME', 'PARTITIONS', 'RETENTION', ''], rows))
    })

  topic
    .command('create')
    .description('make a topic')
    .argument('<name>')
    .option('--partitions <n>', '1 unless given', countOf)
    .option('--retention-ms <n>', 'drop records after so long', countOf)
    .option('--retention-bytes <n>', 'drop the oldest above so much', countOf)
    .option('--compact', 'keep the last record of each key')
    .option('--json', "print the API's answer")
    .action(async (name: string, { json, ...options }: Omit<Topic, 'name'> & Json) => {
      const made = await new ApiClient().json<Topic>('POST', '/v1/topics', jsonBody({ name, ...options }))
      if (json) return printJson(made)
      print(`created ${made.name}, ${made.partitions} ${made.partitions === 1 ? 'partition' : 'partitions'}`)
    })

  topic
    .command('rm')
    .description('remove a topic with its records')
    .argument('<name>')
    .option('--json', SILENT)
    .action(async (name: string, { json }: Json) => {
      await new ApiClient().json('DELETE', topicPath(name))
      if (!json) print(`removed ${name}`)
    })

  topic
    .command('produce')
    .description('write records: values given as arguments, else a line each from the standard input')
    .argument('<topic>')
    .argument('[value...]', 'JSON, else a text')
    .option('--key <key>', 'of each record')
    .option('--partition <n>', 'write to this one', (text) => countOf(String(Number(text) + 1)) - 1)
    .option('--json', "print the API's answer")
    .action(async (name: string, values: string[], options: ProduceOptions & Json) => {
      const records = await produce(new ApiClient(), name, values, options)
      if (options.json) return printJson({ records })
      print(`wrote ${records.length} ${records.length === 1 ? 'record' : 'records'} to ${name}`)
    })

  topic
    .command('consume')
    .description('print records as JSON lines')
    .argument('<topic>')
    .option('--from <place>', 'earliest, latest, offset:N or time:ISO', 'earliest')
    .option('--partition <n>', 'of this one alone')
    .option('--limit <n>', 'so many at most; else all that are there', countOf)
    .option('--follow', 'go on with what comes')
    .option('--json', "print the API's answer, one page")
    .action((name: string, options: ConsumeOptions) => consume(new ApiClient(), name, options))
}

function retentionText({ retentionMs, retentionBytes }: Topic): string {
  const parts = []
  if (retentionMs !== undefined) parts.push(`${retentionMs} ms`)
  if (retentionBytes !== undefined) parts.push(`${retentionBytes} bytes`)
  return parts.join(', ') || 'forever'
}
