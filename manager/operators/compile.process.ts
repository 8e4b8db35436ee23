// Entry of the process that compiles pushed sources: `node compile.process.js FILES PARENT`. It ends with its manager, by the
// channel where it waits, by a thread of its own where it compiles.
// Runs on: compile process.

import { readFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { compileOperator } from './compile.ts'
import type { CompileReply, CompileRequest, CompilerFiles } from './compiler.ts'

const { operatorsFolder, asconfig } = JSON.parse(process.argv[2] ?? '{}') as CompilerFiles
const config = readFileSync(asconfig, 'utf8')

new Worker(new URL('./compile-watch.worker.js', import.meta.url), {
  workerData: { parent: Number(process.argv[3]) },
  execArgv: [],
  resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
}).unref()

process.on('disconnect', () => process.exit())
process.on('message', async (request: CompileRequest) => {
  let reply: CompileReply
  try {
    reply = { output: await compileOperator({ ...request, operatorsFolder, asconfig: config }) }
  } catch (error) {
    reply = { failure: error instanceof Error ? error.message : String(error) }
  }
  process.send?.(reply)
})
