// spqr topic …

import type { Command } from 'commander'
import { ApiClient, type Body, jsonBody } from './api-client.ts'
import { readFile } from './files.ts'
import { print, printJson, tableOf } from './output.ts'
import { topicPath } from './paths.ts'
import { countOf, parseValue } from './values.ts'

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
    .action(async (name: string) => {
      await new ApiClient().json('DELETE', topicPath(name))
      print(`removed ${name}`)
    })

  topic
    .command('produce')
    .description('write records: values given as arguments, else a line each from the standard input')
    .argument('<topic>')
    .argument('[value...]', 'JSON, else a text')
    .option('--key <key>', 'of each record')
    .option('--partition <n>', 'write to this one', (text) => countOf(String(Number(text) + 1)) - 1)
    .option('--json', "print the API's answer")
    .action(async (name: string, values: string[], options: { key?: string; partition?: number } & Json) => {
      const answer = await new ApiClient().json<{ records: unknown[] }>(
        'POST',
        topicPath(name, '/records'),
        produced(values, options),
      )
      if (options.json) return printJson(answer)
      print(`wrote ${answer.records.length} ${answer.records.length === 1 ? 'record' : 'records'} to ${name}`)
    })

  topic
    .command('consume')
    .description('print records as JSON lines')
    .argument('<topic>')
    .option('--from <place>', 'earliest, latest, offset:N or time:ISO', 'earliest')
    .option('--partition <n>', 'of this one alone')
    .option('--limit <n>', 'so many at most', countOf)
    .option('--follow', 'go on with what comes')
    .action((name: string, options: ConsumeOptions) => consume(new ApiClient(), name, options))
}

interface ConsumeOptions {
  from: string
  partition?: string
  limit?: number
  follow?: boolean
}

async function consume(
  client: ApiClient,
  name: string,
  { from, partition, limit, follow }: ConsumeOptions,
): Promise<void> {
  const query = new URLSearchParams({ from })
  if (partition !== undefined) query.set('partition', partition)
  if (limit !== undefined) query.set('limit', String(limit))
  if (!follow) {
    const { records } = await client.json<{ records: unknown[] }>('GET', topicPath(name, `/records?${query}`))
    for (const record of records) print(JSON.stringify(record))
    return
  }
  query.set('follow', 'true')
  let left = limit ?? Number.POSITIVE_INFINITY
  for await (const { event, data } of client.events(topicPath(name, `/records?${query}`))) {
    if (event !== 'message') continue
    print(data)
    if (--left <= 0) return
  }
}

function produced(values: string[], { key, partition }: { key?: string; partition?: number }): Body {
  if (values.length === 0 && key === undefined && partition === undefined) {
    return { type: 'application/x-ndjson', content: readFile('-') }
  }
  const given = values.length
    ? values
    : readFile('-')
        .split('\n')
        .filter((line) => line.trim() !== '')
  return jsonBody({ records: given.map((text) => ({ key, partition, value: parseValue(text) })) })
}

function retentionText({ retentionMs, retentionBytes }: Topic): string {
  const parts = []
  if (retentionMs !== undefined) parts.push(`${retentionMs} ms`)
  if (retentionBytes !== undefined) parts.push(`${retentionBytes} bytes`)
  return parts.join(', ') || 'forever'
}
