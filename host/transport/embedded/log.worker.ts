// The log thread: takes requests from every port, does all writes that wait in one commit, answers reads at once.
// Runs on: log thread; only wiring here, see log.ts for what is done.

import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { SpqrError } from '../../../schemas/errors.ts'
import { releaseImage } from '../../ring/image-memory.ts'
import { isFull, storageError } from './database.ts'
import { Log, type Outcome, type Write } from './log.ts'
import type {
  ControlMessage,
  ControlReply,
  FromLog,
  LogOptions,
  ReadAnswer,
  ReadBody,
  Reply,
  Request,
  Results,
  ToLog,
  WriteBody,
} from './messages.ts'

const GROUP_BYTES_MAX = 32 << 20
const GROUP_WRITES_MAX = 4096
const HOUSEKEEPING_EVERY_MS = 1000
const STEP_PAUSE_MS = 2
/** Checkpoints that nobody waits for share a commit of this often; each way to the disk costs everyone on it. */
const PATIENCE_MS = 25
/** Housekeeping rests this many times as long as it worked: it takes a fifth of the thread at most. */
const STEP_REST = 4
const RETRY_HOUSEKEEPING_MS = 5000

/** One side of a port: an EmbeddedTransport is at the other. */
interface Client {
  port: MessagePort
  watched: Set<string>
  replies: Reply[]
  transfer: ArrayBuffer[]
}

interface Waiting extends Write {
  id: number
  owner: Client
  body: WriteBody
}

const options = workerData as LogOptions
const clients = new Set<Client>()
const watchers = new Map<string, Set<Client>>()
let queue: Waiting[] = []
let scheduled = false
let patienceTimer: NodeJS.Timeout | undefined
let stopping = false
let stepTimer: NodeJS.Timeout | undefined
const log = open()

parentPort!.on('message', (message: ControlMessage) => {
  if (message.kind === 'connect') connect(message.port)
  else stop()
})
process.on('uncaughtExceptionMonitor', (thrown) => {
  const text = `Cannot use the log in "${options.dataDir}": its thread failed (${thrown.message}); restart.`
  fail(new SpqrError('TRANSPORT_UNAVAILABLE', text))
})
const ticker = setInterval(tick, options.housekeepingEveryMs ?? HOUSEKEEPING_EVERY_MS)
scheduleStep(STEP_PAUSE_MS)
control({ kind: 'ready' })

function open(): Log {
  try {
    return new Log(options, (owner, member, event) => {
      const message: FromLog = { kind: 'group', member, event }
      ;(owner as Client).port.postMessage(message)
    })
  } catch (thrown) {
    control({ kind: 'failed', error: storageError(thrown, options.dataDir).toMessage() })
    process.exit(0)
  }
}

function control(reply: ControlReply): void {
  parentPort!.postMessage(reply)
}

function connect(port: MessagePort): void {
  const client: Client = { port, watched: new Set(), replies: [], transfer: [] }
  clients.add(client)
  port.on('message', (message: ToLog) => take(client, message))
  port.on('close', () => {
    for (const topic of [...client.watched]) unwatch(client, topic)
    clients.delete(client)
    log.dropOwner(client)
  })
}

function take(client: Client, message: ToLog): void {
  switch (message.kind) {
    case 'watch': {
      client.watched.add(message.topic)
      const set = watchers.get(message.topic)
      if (set) set.add(client)
      else watchers.set(message.topic, new Set([client]))
      return
    }
    case 'unwatch':
      unwatch(client, message.topic)
      return
    case 'group-join':
      log.groups.join(client, message.member, message.group, message.topic)
      return
    case 'group-released':
      log.groups.released(message.member)
      return
    case 'group-leave':
      log.groups.leave(message.member)
      return
    case 'requests':
      for (const request of message.requests) handle(client, request)
      flush(client)
  }
}

function unwatch(client: Client, topic: string): void {
  client.watched.delete(topic)
  const set = watchers.get(topic)
  set?.delete(client)
  if (set?.size === 0) watchers.delete(topic)
}

function handle(client: Client, request: Request): void {
  const { id } = request
  if (isRead(request)) {
    reply(client, id, attempt(request), request.op)
    if (request.op === 'trim') scheduleStep(STEP_PAUSE_MS)
    return
  }
  const waiting: Waiting = { id, owner: client, body: request }
  // Order matters between a staged append and the commit of its transaction: nothing overtakes what waits.
  const staged = queue.length === 0 ? log.stage(waiting) : undefined
  if (staged) {
    reply(client, id, staged, request.op)
    return
  }
  queue.push(waiting)
  if (scheduled) return
  if (request.op === 'commit' && request.commit.patient) {
    patienceTimer ??= setTimeout(commitQueue, PATIENCE_MS)
    return
  }
  scheduled = true
  // After every port had its turn: what they brought meanwhile shares the commit.
  setImmediate(commitQueue)
}

function isRead(request: Request): request is ReadBody & { id: number } {
  switch (request.op) {
    case 'createTopic':
    case 'deleteTopic':
    case 'append':
    case 'commit':
    case 'publish':
    case 'abort':
    case 'copyCheckpoint':
    case 'deleteCheckpoints':
      return false
    default:
      return true
  }
}

function attempt(body: ReadBody): Outcome {
  try {
    return { value: log.answer(body) }
  } catch (thrown) {
    return { thrown }
  }
}

function commitQueue(): void {
  scheduled = false
  clearTimeout(patienceTimer)
  patienceTimer = undefined
  while (queue.length > 0) {
    const group = nextGroup()
    settle(group, commitGroup(group))
  }
  announce()
  if (log.housekeeping.pending) scheduleStep(STEP_PAUSE_MS)
}

function nextGroup(): Waiting[] {
  let count = 0
  let bytes = 0
  while (count < queue.length && count < GROUP_WRITES_MAX && bytes < GROUP_BYTES_MAX) {
    const { body } = queue[count++]!
    if (body.op === 'append') bytes += body.frames.length
    else if (body.op === 'commit') for (const snapshot of body.commit.snapshots) bytes += snapshot.memory.length
  }
  const group = queue.slice(0, count)
  queue = queue.slice(count)
  return group
}

function commitGroup(group: Waiting[]): Outcome[] {
  try {
    return log.writeAll(group)
  } catch (thrown) {
    if (group.length === 1 || isFull(thrown)) return group.map(() => ({ thrown }))
    // One of them cannot be done: the others shall not suffer for it.
    return group.flatMap((write) => commitGroup([write]))
  }
}

function settle(group: Waiting[], outcomes: Outcome[]): void {
  group.forEach(({ owner, id, body }, i) => {
    reply(owner, id, outcomes[i]!, body.op)
    if (body.op === 'commit') for (const { memory } of body.commit.snapshots) releaseImage(memory)
  })
  for (const client of new Set(group.map((write) => write.owner))) flush(client)
}

function reply(client: Client, id: number, outcome: Outcome, op: Request['op']): void {
  if ('thrown' in outcome) {
    client.replies.push({ id, error: storageError(outcome.thrown, options.dataDir).toMessage() })
    return
  }
  client.replies.push({ id, value: outcome.value })
  if (op === 'read') client.transfer.push((outcome.value as ReadAnswer).frames.buffer as ArrayBuffer)
  if (op === 'checkpoint') {
    for (const snapshot of (outcome.value as Results['checkpoint'])?.snapshots ?? []) {
      client.transfer.push(snapshot.memory.buffer as ArrayBuffer)
    }
  }
}

function flush(client: Client): void {
  if (client.replies.length === 0) return
  const message: FromLog = { kind: 'replies', replies: client.replies }
  client.port.postMessage(message, client.transfer)
  client.replies = []
  client.transfer = []
}

function announce(): void {
  const news = new Map<Client, [string, number][]>()
  for (const partition of log.takeAppended()) {
    const { name } = partition.topic.info
    for (const client of watchers.get(name) ?? []) {
      const list = news.get(client)
      if (list) list.push([name, partition.number])
      else news.set(client, [[name, partition.number]])
    }
  }
  for (const [client, partitions] of news) client.port.postMessage({ kind: 'appended', partitions } satisfies FromLog)
}

function tick(): void {
  attemptHousekeeping(() => log.housekeeping.tick(Date.now()))
  if (log.housekeeping.pending) scheduleStep(STEP_PAUSE_MS)
}

function scheduleStep(afterMs: number): void {
  if (stopping) return
  stepTimer ??= setTimeout(() => {
    stepTimer = undefined
    if (!log.housekeeping.pending) return
    const began = performance.now()
    const went = attemptHousekeeping(() => log.housekeeping.step())
    const restMs = Math.ceil((performance.now() - began) * STEP_REST)
    scheduleStep(went ? Math.max(STEP_PAUSE_MS, restMs) : RETRY_HOUSEKEEPING_MS)
  }, afterMs)
}

/** A full disk or a damaged row does not end the thread: what was begun is left, and looked at again later. */
function attemptHousekeeping(act: () => void): boolean {
  try {
    act()
    return true
  } catch {
    log.housekeeping.giveUp()
    return false
  }
}

function stop(): void {
  stopping = true
  clearInterval(ticker)
  clearTimeout(stepTimer)
  commitQueue()
  log.close()
  for (const client of clients) client.port.close()
  parentPort!.close()
}

function fail(error: SpqrError): void {
  const message: FromLog & ControlReply = { kind: 'failed', error: error.toMessage() }
  for (const client of clients) client.port.postMessage(message)
  control(message)
}
