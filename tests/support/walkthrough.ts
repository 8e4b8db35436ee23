// Does what a document tells its reader to do: every command of its ```sh blocks, in order, in a real shell, against a real
// `spqr dev`. Each command has a step that says what must come of it, so that neither can change without the other.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'

/** The project's folder: compiled, this file is dist/tests/support/walkthrough.js. */
const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..')

export interface Step {
  /** What the command begins with. */
  command: string
  /** What is printed, by either output. */
  prints?: RegExp
  /** `ends` (0, default), `fails` (not 0), `streams` (is ended once it printed that), `stays` (a server, which goes on). */
  how?: 'ends' | 'fails' | 'streams' | 'stays'
}

const LATEST_MS = 60_000
const DOCUMENTED_PORT = 8400

export class Walkthrough {
  readonly folder = mkdtempSync(join(tmpdir(), 'spqr-walkthrough-'))
  readonly #running = new Set<ChildProcess>()
  #port = 0

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  static async begin(): Promise<Walkthrough> {
    const made = new Walkthrough()
    made.#port = await freePort()
    return made
  }

  /** Does all of it. */
  async follow(file: string, steps: readonly Step[]): Promise<void> {
    const commands = commandsOf(readFileSync(join(root, file), 'utf8'))
    for (const [index, { text, line }] of commands.entries()) {
      const step = steps[index]
      assert.ok(step && text.startsWith(step.command), `${file}:${line} is not what the test expects: ${text}`)
      const { code, output } = await this.run(text, step)
      const told = `${file}:${line}: ${text}\n${output}`
      if (step.prints) assert.match(output, step.prints, told)
      if (step.how === 'fails') assert.is.not(code, 0, told)
      if (step.how === 'ends' || step.how === undefined) assert.is(code, 0, told)
    }
    assert.is(steps.length, commands.length, `${file} has fewer commands than the test`)
  }

  /** Runs one command in a shell, its port and folders being those of this walk. */
  run(
    text: string,
    { prints, how = 'ends' }: Omit<Step, 'command'> = {},
  ): Promise<{ code: number | null; output: string }> {
    // By a file: a command that looks for processes must not find the shell that runs it.
    const script = join(this.folder, 'command.sh')
    writeFileSync(script, `${this.#localised(text)}\n`)
    const env = { ...process.env, SPQR_URL: this.url, npm_config_update_notifier: 'false', npm_config_offline: 'true' }
    const child = spawn('bash', [script], { cwd: root, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#running.add(child)
    return new Promise((done) => {
      let output = ''
      const timer = setTimeout(() => {
        output += `\nnot within ${LATEST_MS / 1000} s`
        end(child, 'SIGKILL')
        done({ code: null, output })
      }, LATEST_MS)
      const take = (chunk: Buffer): void => {
        output += chunk.toString()
        if (how !== 'streams' && how !== 'stays') return
        if (!prints?.test(output)) return
        clearTimeout(timer)
        if (how === 'streams') end(child, 'SIGTERM')
        done({ code: null, output })
      }
      child.stdout.on('data', take)
      child.stderr.on('data', take)
      child.on('close', (code) => {
        clearTimeout(timer)
        this.#running.delete(child)
        done({ code, output })
      })
    })
  }

  /** Ends everything that still runs. @returns once it has ended */
  async end(signal: NodeJS.Signals): Promise<void> {
    const running = [...this.#running]
    const closed = Promise.all(running.map((child) => new Promise((done) => child.once('close', done))))
    for (const child of running) end(child, signal)
    await closed
  }

  async remove(): Promise<void> {
    await this.end('SIGKILL')
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 })
  }

  #localised(text: string): string {
    const server = `--port ${this.#port}`
    return text
      .replaceAll(`127.0.0.1:${DOCUMENTED_PORT}`, `127.0.0.1:${this.#port}`)
      .replaceAll('/tmp/', `${this.folder}/`)
      .replace(/^npm start$/, `npm start -- ${server} --data ${this.folder}/data`)
      .replace(/^npx spqr dev .*$/, `$& ${server}`)
  }
}

/** With all that it started. */
function end(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    process.kill(-child.pid!, signal)
  } catch {
    // It has ended.
  }
}

/** Commands of the ```sh blocks: a line, with what continues it and the here-documents it begins. */
export function commandsOf(markdown: string): { text: string; line: number }[] {
  const commands: { text: string; line: number }[] = []
  let inBlock = false
  let open: { text: string; line: number } | undefined
  let until: string | undefined
  for (const [index, row] of markdown.split('\n').entries()) {
    if (row.startsWith('```')) {
      inBlock = row === '```sh'
      continue
    }
    if (!inBlock) continue
    if (open) open.text += `\n${row}`
    else if (row.trim() !== '' && !row.startsWith('#')) open = { text: row, line: index + 1 }
    if (!open) continue
    if (until === undefined) until = /<<'(\w+)'/.exec(row)?.[1]
    else if (row === until) until = undefined
    if (until !== undefined || /(\\|\|)$/.test(row)) continue
    commands.push(open)
    open = undefined
  }
  return commands
}

function freePort(): Promise<number> {
  return new Promise((done) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number }
      probe.close(() => done(port))
    })
  })
}
