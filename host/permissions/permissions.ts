// What pipelines may touch outside of the product: Deno's flags of the host, bounded further by a tenant's grants. All
// is denied unless every level allows it; a deny always wins.
// Runs on: control and bridge threads; crosses between them as JSON.

import { lookup as dnsLookup } from 'node:dns'
import { isIP, type LookupFunction } from 'node:net'
import { isAbsolute, join } from 'node:path'
import { type Issue, SpqrError } from '../../schemas/errors.ts'
import { canonicalHost, classOf, entryNames, type NetEntry, parseNetEntry } from './net-address.ts'
import { isWithin, realPath } from './real-path.ts'

export const PERMISSION_KINDS = ['net', 'read', 'write', 'env', 'topic'] as const
export type PermissionKind = (typeof PERMISSION_KINDS)[number]

/** A tenant's grants; what is absent is not granted. An alias in `topic` is `name=>topic of the transport`. */
export type Grants = Partial<Record<PermissionKind, string[]>>

interface Rule {
  /** true: all */
  allow: true | string[]
  deny: true | string[]
}

interface Level {
  /** `flags`: the host's command line; `grants`: those of the tenant. */
  origin: 'flags' | 'grants'
  rules: Record<PermissionKind, Rule>
}

/** Its form between threads. */
export interface PermissionsMessage {
  levels: Level[]
  askedBy: string
  ownPaths: string[]
}

/** Flags that a line may have at most; each lists at most as many names. */
const NAMES_MAX = 1_000
/** Folders that are the machine rather than files; only opened where a permission lies in them itself. */
const SYSTEM_FOLDERS = ['/proc', '/dev', '/sys']

export class Permissions {
  readonly #levels: readonly Level[]
  readonly #askedBy: string
  readonly #ownPaths: readonly string[]

  private constructor(levels: readonly Level[], askedBy: string, ownPaths: readonly string[] = []) {
    this.#levels = levels
    this.#askedBy = askedBy
    this.#ownPaths = ownPaths
  }

  /**
   * Reads flags such as `--allow-net=127.0.0.1:80,example.com`, `--allow-read`, `--deny-write=/etc`; `,,` is a comma.
   * @throws SpqrError INVALID_BODY with one issue per flag that is none
   */
  static parse(flags: readonly string[]): Permissions {
    const level = emptyLevel('flags')
    const issues: Issue[] = []
    flags.forEach((flag, i) => {
      const match = /^--(allow|deny)-(net|read|write|env|topic)(?:=(.*))?$/s.exec(flag)
      const pointer = `/${i}`
      if (!match) {
        const kinds = PERMISSION_KINDS.join(', ')
        issues.push({
          pointer,
          message: `"${flag}" is no permission: write --allow-KIND or --deny-KIND, KIND one of ${kinds}`,
        })
        return
      }
      const [, verb, kind, list] = match as unknown as [string, 'allow' | 'deny', PermissionKind, string | undefined]
      const rule = level.rules[kind]
      if (list === undefined) rule[verb] = true
      else if (rule[verb] !== true) rule[verb] = [...rule[verb], ...readNames(kind, splitNames(list), pointer, issues)]
    })
    throwIssues('Cannot read the permission flags', issues)
    return new Permissions([level], '')
  }

  static fromJSON(message: PermissionsMessage): Permissions {
    return new Permissions(message.levels, message.askedBy, message.ownPaths)
  }

  toJSON(): PermissionsMessage {
    return { levels: [...this.#levels], askedBy: this.#askedBy, ownPaths: [...this.#ownPaths] }
  }

  /**
   * The same, bounded further by a tenant's grants: what they do not name is refused.
   * @throws SpqrError INVALID_BODY with one issue per grant that is none
   */
  narrow(grants: Grants): Permissions {
    const level = emptyLevel('grants')
    const issues: Issue[] = []
    for (const kind of PERMISSION_KINDS) {
      level.rules[kind].allow = readNames(kind, grants[kind] ?? [], `/${kind}`, issues)
    }
    throwIssues('Cannot read the grants', issues)
    return new Permissions([...this.#levels, level], this.#askedBy, this.#ownPaths)
  }

  /** The same, with the name of who asks in what it refuses: `component "in" of pipeline "shop"`. */
  askedBy(who: string): Permissions {
    return new Permissions(this.#levels, who, this.#ownPaths)
  }

  /** The same, but no flag and no grant opens these paths: they hold what the product keeps for all tenants. */
  withoutPaths(paths: readonly string[]): Permissions {
    return new Permissions(this.#levels, this.#askedBy, [...this.#ownPaths, ...paths])
  }

  /** @returns the real path, to be opened in place of the given one. @throws SpqrError PERMISSION_DENIED */
  checkRead(path: string): string {
    return this.#checkPath('read', path)
  }

  /** @returns the real path, to be opened in place of the given one. @throws SpqrError PERMISSION_DENIED */
  checkWrite(path: string): string {
    return this.#checkPath('write', path)
  }

  /**
   * What can be said before a name is resolved; connect with `netLookup` besides.
   * @param host name or address, in any spelling
   * @throws SpqrError PERMISSION_DENIED
   */
  checkNet(host: string, port: number): void {
    const canonical = canonicalHost(host)
    if (canonical === undefined)
      throw this.#denied('net', `connect to "${host}", which is no host`, `${host}:${port}`, this.#levels)
    if (isIP(canonical)) this.#checkAddress(canonical, canonical, port)
    else {
      const refusing = this.#levels.filter((level) => !namesHost(level.rules.net, canonical, port))
      if (refusing.length > 0)
        throw this.#denied('net', `connect to ${canonical}:${port}`, `${canonical}:${port}`, refusing)
    }
  }

  /**
   * The addresses of a host that may be connected to.
   * @throws SpqrError PERMISSION_DENIED where none may be; the resolver's error
   */
  async resolveNet(host: string, port: number): Promise<{ address: string; family: number }[]> {
    this.checkNet(host, port)
    const canonical = canonicalHost(host)!
    const family = isIP(canonical)
    if (family) return [{ address: canonical, family }]
    const found = await new Promise<{ address: string; family: number }[]>((done, fail) => {
      dnsLookup(canonical, { all: true }, (error, addresses) => (error ? fail(error) : done(addresses)))
    })
    let refusal: unknown
    const open = found.filter(({ address }) => {
      try {
        this.#checkAddress(canonical, canonicalHost(address) ?? address, port)
        return true
      } catch (error) {
        refusal = error
        return false
      }
    })
    if (open.length === 0 && refusal !== undefined) throw refusal
    return open
  }

  /** The `lookup` of a socket or request to this port: it connects to the very addresses that were checked. */
  netLookup(port: number): LookupFunction {
    return (hostname, options, callback) => {
      this.resolveNet(hostname, port).then(
        (found) => {
          const wanted =
            options.family === 4 || options.family === 6 ? found.filter((a) => a.family === options.family) : found
          const first = wanted[0]
          if (options.all) callback(null, wanted)
          else if (first) callback(null, first.address, first.family)
          else callback(Object.assign(new Error(`no address of ${hostname}`), { code: 'ENOTFOUND' }), '', 0)
        },
        (error: NodeJS.ErrnoException) => callback(error, '', 0),
      )
    }
  }

  /** @throws SpqrError PERMISSION_DENIED */
  checkEnv(name: string): void {
    const refusing = this.#levels.filter(({ rules: { env } }) => !allows(env, (entry) => entry === name))
    if (refusing.length > 0) throw this.#denied('env', `read the environment variable ${name}`, name, refusing)
  }

  /** Another's topic, by its full name on the transport. @throws SpqrError PERMISSION_DENIED */
  checkTopic(name: string): void {
    const refusing = this.#levels.filter(({ rules: { topic } }) => !allows(topic, (entry) => matchesTopic(entry, name)))
    if (refusing.length > 0) throw this.#denied('topic', `use the topic "${name}"`, name, refusing)
  }

  /** The topic of the transport that a granted alias stands for; undefined: no such alias. */
  topicAlias(name: string): string | undefined {
    for (const { rules } of this.#levels) {
      if (rules.topic.allow === true) continue
      for (const entry of rules.topic.allow) {
        const [alias, target] = entry.split('=>')
        if (target !== undefined && alias === name) return target
      }
    }
    return undefined
  }

  #checkPath(kind: 'read' | 'write', path: string): string {
    if (path.includes('\0'))
      throw this.#denied(kind, `${kind} a path with a zero byte`, path.replaceAll('\0', '?'), this.#levels)
    const real = realPath(path)
    if (this.#ownPaths.some((own) => isWithin(real, realPath(own)))) {
      throw new SpqrError('PERMISSION_DENIED', `${this.#who} may not ${kind} "${path}": it holds data of all tenants.`)
    }
    const refusing = this.#levels.filter(({ rules }) => !allowsPath(rules[kind], real))
    if (refusing.length === 0) return real
    const asked = isAbsolute(path) ? path : join(process.cwd(), path)
    const note = asked === real ? '' : ` (asked for as "${path}")`
    // Where the machine's links lead is no business of a tenant.
    if (note !== '' && this.#levels.some(({ origin }) => origin === 'grants')) {
      const message = `${this.#who} may not ${kind} "${path}", which leads elsewhere: name the place itself.`
      throw new SpqrError('PERMISSION_DENIED', message)
    }
    throw this.#denied(kind, `${kind} "${real}"${note}`, real, refusing)
  }

  /** @param host the name it was reached by; the address itself where there was none */
  #checkAddress(host: string, address: string, port: number): void {
    const refusing = this.#levels.filter(({ rules }) => !allowsAddress(rules.net, host, address, port))
    if (refusing.length === 0) return
    const named = isIP(host) === 0 ? `${host} (${address})` : address
    const shown = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
    const kind = classOf(address) === 'public' ? '' : `, which is ${classOf(address)} and must be named`
    throw this.#denied('net', `connect to ${named} port ${port}${kind}`, shown, refusing)
  }

  get #who(): string {
    return this.#askedBy === '' ? 'It' : `The ${this.#askedBy}`
  }

  #denied(kind: PermissionKind, what: string, name: string, refusing: readonly Level[]): SpqrError {
    const remedies: string[] = []
    if (refusing.some((level) => level.origin === 'flags')) {
      const deniedBy = refusing.some(
        ({ origin, rules }) => origin === 'flags' && (rules[kind].deny === true || rules[kind].deny.length > 0),
      )
      remedies.push(
        `start the host with --allow-${kind}=${name.replaceAll(',', ',,')}${deniedBy ? ` and without the --deny-${kind} that names it` : ''}`,
      )
    }
    if (refusing.some((level) => level.origin === 'grants')) remedies.push(`grant the tenant ${kind}: ["${name}"]`)
    return new SpqrError('PERMISSION_DENIED', `${this.#who} may not ${what}: ${remedies.join(' and ')}.`)
  }
}

function emptyLevel(origin: Level['origin']): Level {
  const rule = (): Rule => ({ allow: [], deny: [] })
  return { origin, rules: { net: rule(), read: rule(), write: rule(), env: rule(), topic: rule() } }
}

function splitNames(list: string): string[] {
  return list.split(/(?<!,),(?!,)/).map((name) => name.replaceAll(',,', ','))
}

function readNames(kind: PermissionKind, names: readonly string[], pointer: string, issues: Issue[]): string[] {
  if (names.length > NAMES_MAX)
    issues.push({ pointer, message: `lists ${names.length} names, ${NAMES_MAX} are allowed` })
  const read: string[] = []
  for (const name of names.slice(0, NAMES_MAX)) {
    const trimmed = kind === 'read' || kind === 'write' ? name : name.trim()
    if (trimmed === '') issues.push({ pointer, message: 'a name is empty; leave "=" away to mean all' })
    else if (kind === 'net' && !parseNetEntry(trimmed)) {
      issues.push({ pointer, message: `"${trimmed}" is no host, host:port, *.domain, address or address range` })
    } else if (kind === 'read' || kind === 'write')
      read.push(isAbsolute(trimmed) ? trimmed : join(process.cwd(), trimmed))
    else read.push(trimmed)
  }
  return read
}

function throwIssues(what: string, issues: Issue[]): void {
  if (issues.length > 0)
    throw new SpqrError('INVALID_BODY', `${what}: ${issues.map((i) => i.message).join('; ')}.`, { issues })
}

function allows(rule: Rule, names: (entry: string) => boolean): boolean {
  if (rule.deny === true || rule.deny.some(names)) return false
  return rule.allow === true || rule.allow.some(names)
}

function allowsPath(rule: Rule, real: string): boolean {
  const system = SYSTEM_FOLDERS.find((folder) => isWithin(real, folder))
  const names = (entry: string): boolean => {
    const folder = realPath(entry)
    return isWithin(real, folder) && (system === undefined || isWithin(folder, system))
  }
  if (rule.deny === true || rule.deny.some((entry) => isWithin(real, realPath(entry)))) return false
  return rule.allow === true ? system === undefined : rule.allow.some(names)
}

const parsedEntries = new Map<string, NetEntry | undefined>()

function netEntry(text: string): NetEntry | undefined {
  if (!parsedEntries.has(text)) {
    if (parsedEntries.size >= NAMES_MAX) parsedEntries.clear()
    parsedEntries.set(text, parseNetEntry(text))
  }
  return parsedEntries.get(text)
}

function namesEntry(text: string, host: string, port: number): boolean {
  const entry = netEntry(text)
  return entry !== undefined && entryNames(entry, host, port)
}

/** A host name, before it is resolved. */
function namesHost(rule: Rule, host: string, port: number): boolean {
  return allows(rule, (entry) => namesEntry(entry, host, port))
}

function allowsAddress(rule: Rule, host: string, address: string, port: number): boolean {
  const namesAddress = (entry: string): boolean => namesEntry(entry, address, port)
  const namesHostOf = (entry: string): boolean => namesEntry(entry, host, port)
  if (rule.deny === true || rule.deny.some((entry) => namesAddress(entry) || namesHostOf(entry))) return false
  if (rule.allow !== true && rule.allow.some(namesAddress)) return true
  const kind = classOf(address)
  if (kind === 'public') return rule.allow === true || rule.allow.some(namesHostOf)
  // A name that was given in full may lead inside; `*.domain` and "all" may not, and nothing but the address leads to
  // link-local ones.
  if (kind === 'link-local' || rule.allow === true) return false
  return rule.allow.some((entry) => netEntry(entry)?.kind === 'name' && namesHostOf(entry))
}

/** `*` stands for any run of characters. An alias names its target. */
function matchesTopic(entry: string, name: string): boolean {
  const pattern = entry.split('=>')[1] ?? entry
  const parts = pattern.split('*')
  if (parts.length === 1) return pattern === name
  if (!name.startsWith(parts[0]!)) return false
  let at = parts[0]!.length
  for (const part of parts.slice(1, -1)) {
    const found = name.indexOf(part, at)
    if (found < 0) return false
    at = found + part.length
  }
  const last = parts.at(-1)!
  return name.length - last.length >= at && name.endsWith(last)
}
