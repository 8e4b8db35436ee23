// Entry of the process that compiles pushed sources: `node compile.process.js FILES`. It ends with its manager.
// Runs on: compile process.

import { readFileSync } from 'node:fs'
import { compileOperator } from './compile.ts'
import type { CompileReply, CompileRequest, CompilerFiles } from './compiler.ts'

const { operatorsFolder, asconfig } = JSON.parse(process.argv[2] ?? '{}') as CompilerFiles
const config = readFileSync(asconfig, 'utf8')

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
