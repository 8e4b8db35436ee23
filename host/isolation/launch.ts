// Starts a tenant's process: no environment, no descriptors but one pipe, and as few rights as the system lets us take away.
// Runs on: relay thread. A process that Linux is told to end with its parent ends with this thread.

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Socket } from 'node:net'
import { sep } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface TenantProcess {
  pid: number
  child: ChildProcess
  /** The pipe; its first bytes are there. */
  socket: Socket
  /** The end of what it wrote to its error output. */
  lastWords(): string
}

const HELLO_MS_MAX = 20_000
const WORDS_MAX = 2000
const HEAP_MIB = 256
const NOBODY = '65534'
const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => existsSync(path))

/** Starts the process and waits until it speaks. @throws Error where it cannot be started in any way */
export async function launch(cores: number): Promise<TenantProcess> {
  let failure = ''
  for (const prefix of confinements()) {
    const started = await start(prefix, cores)
    if (typeof started !== 'string') return started
    failure ||= started
  }
  throw new Error(`Cannot start a process of its own: ${failure}`)
}

/** What stands before `node`, the strictest first; the next is tried where the system does not let us. */
function confinements(): string[][] {
  if (SETPRIV === undefined) return [[]]
  const ends = [SETPRIV, '--no-new-privs', '--pdeathsig', 'KILL']
  const rights = ['--inh-caps=-all', '--bounding-set=-all']
  const other = ['--reuid', NOBODY, '--regid', NOBODY, '--clear-groups']
  const asRoot = process.getuid?.() === 0
  return [
    ...(asRoot
      ? [
          [...ends, ...rights, ...other],
          [...ends, ...rights],
        ]
      : []),
    ends,
    [],
  ]
}

function start(prefix: string[], cores: number): Promise<TenantProcess | string> {
  const [command, ...args] = [...prefix, process.execPath, ...nodeFlags(), entry(), String(cores)]
  const child = spawn(command!, args, { env: {}, cwd: '/', stdio: ['ignore', 'ignore', 'pipe', 'pipe'] })
  const socket = child.stdio[3] as Socket
  let words = ''
  child.stderr!.on('data', (chunk: Buffer) => {
    words = (words + chunk.toString('latin1')).slice(-WORDS_MAX)
  })
  return new Promise((done) => {
    const late = setTimeout(() => child.kill('SIGKILL'), HELLO_MS_MAX)
    const settle = (result: TenantProcess | string): void => {
      clearTimeout(late)
      child.removeAllListeners()
      socket.removeAllListeners()
      // A pipe may break at any time; its owner is told by `close`.
      socket.on('error', () => undefined)
      child.on('error', () => undefined)
      done(result)
    }
    const lastWords = (): string => words.trim()
    child.once('error', (error) => settle(error.message))
    child.once('close', (code, signal) => settle(`it ended with ${signal ?? code}: ${lastWords()}`))
    socket.once('error', () => undefined)
    socket.once('readable', () => {
      if (socket.readableLength > 0) settle({ pid: child.pid!, child, socket, lastWords })
    })
  })
}

function entry(): string {
  return fileURLToPath(new URL('./tenant.process.js', import.meta.url))
}

/** Node's own permissions: code of the product may be read, nothing else of the disk; no further process, no native code. */
function nodeFlags(): string[] {
  const product = fileURLToPath(new URL('../../', import.meta.url))
  const flag = process.allowedNodeEnvironmentFlags.has('--permission') ? '--permission' : '--experimental-permission'
  // Node ends itself where a path is given twice.
  const readable = new Set([
    product,
    fileURLToPath(new URL('../../../package.json', import.meta.url)),
    ...packageFolders(product),
  ])
  return [
    '--no-warnings',
    '--no-addons',
    `--max-old-space-size=${HEAP_MIB}`,
    flag,
    '--allow-worker',
    ...[...readable].map((path) => `--allow-fs-read=${path}`),
  ]
}

/** Where packages are found, also where the folder is a link. */
function packageFolders(product: string): string[] {
  const found = createRequire(import.meta.url).resolve('@jridgewell/trace-mapping')
  const mark = `${sep}node_modules${sep}`
  const real = found.slice(0, found.lastIndexOf(mark) + mark.length)
  return [real, fileURLToPath(new URL(`../node_modules/`, `file://${product}`))]
}
