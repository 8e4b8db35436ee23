// Entry of the thread that compiles pushed sources.
// Runs on: compile worker.

import { readFileSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { compileOperator } from './compile.ts'
import type { CompileReply, CompileRequest, CompilerFiles } from './compiler.ts'

const port = parentPort
if (!port) throw new Error('compile.worker.ts is started as a worker thread')
const { operatorsFolder, asconfig } = workerData as CompilerFiles
const config = readFileSync(asconfig, 'utf8')

port.on('message', async (request: CompileRequest) => {
  let reply: CompileReply
  try {
    reply = { output: await compileOperator({ ...request, operatorsFolder, asconfig: config }) }
  } catch (error) {
    reply = { failure: error instanceof Error ? error.message : String(error) }
  }
  port.postMessage(reply)
})
