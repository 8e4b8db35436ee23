// Hosts and addresses in one canonical form, and which addresses belong to nobody's public network.
// Runs on: every thread. Pure.

import { BlockList, isIP } from 'node:net'

/** `link-local` holds the metadata services of clouds, so a name alone never opens it. */
export type AddressClass = 'public' | 'private' | 'link-local'

// Apart by family: an IPv6 range would also be asked about IPv4 addresses, as mapped ones.
const private4 = new BlockList()
const private6 = new BlockList()
for (const [net, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const) {
  private4.addSubnet(net, bits, 'ipv4')
}
// Everything but global unicast (2000::/3); within it what is for documentation or carries an IPv4 address along.
for (const [net, bits] of [
  ['::', 3],
  ['4000::', 2],
  ['8000::', 1],
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
] as const) {
  private6.addSubnet(net, bits, 'ipv6')
}
const linkLocal = new BlockList()
linkLocal.addSubnet('169.254.0.0', 16, 'ipv4')
linkLocal.addSubnet('fe80::', 10, 'ipv6')
linkLocal.addAddress('fd00:ec2::254', 'ipv6')

/** @param address as `canonicalHost` gives it */
export function classOf(address: string): AddressClass {
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
  if (linkLocal.check(address, family)) return 'link-local'
  return (family === 'ipv6' ? private6 : private4).check(address, family) ? 'private' : 'public'
}

/**
 * A host as the connection will see it: lower case, no brackets or final dot, IPv4 in any spelling (`0x7f000001`,
 * `2130706433`) and IPv4-mapped IPv6 as four decimals.
 * @returns undefined where it is no host
 */
export function canonicalHost(host: string): string | undefined {
  const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host
  if (/[/?#@\\\s]/.test(bare) || bare === '') return undefined
  let name: string
  try {
    name = new URL(`http://${bare.includes(':') ? `[${bare}]` : bare}/`).hostname
  } catch {
    return undefined
  }
  if (name.startsWith('[')) name = name.slice(1, -1)
  if (name.endsWith('.')) name = name.slice(0, -1)
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(name)
  if (!mapped) return name === '' ? undefined : name
  const high = Number.parseInt(mapped[1]!, 16)
  const low = Number.parseInt(mapped[2]!, 16)
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`
}

/** What a `net` flag or grant names: a host, `*.domain`, an address or a range, of one port or all. */
export interface NetEntry {
  /** Canonical; of `*.domain` the domain with its leading dot. */
  host: string
  kind: 'name' | 'subdomains' | 'address' | 'range'
  /** Of a range. */
  range?: BlockList
  family?: number
  port?: number
}

/** @returns undefined where the text is no entry */
export function parseNetEntry(text: string): NetEntry | undefined {
  const split = /^(\[[^\]]*\]|[^:]*)(?::(\d{1,5}))?$/.exec(text.trim())
  // An IPv6 address without brackets cannot carry a port.
  const hostText = split ? split[1]! : text.trim()
  const port = split?.[2] === undefined ? undefined : Number(split[2])
  if (port !== undefined && (port < 1 || port > 65_535)) return undefined
  const slash = /^\[?([^[\]/]+)\/(\d{1,3})\]?$/.exec(hostText)
  if (slash) return rangeEntry(slash[1]!, Number(slash[2]), port)
  if (hostText.startsWith('*.')) {
    const domain = canonicalHost(hostText.slice(2))
    return domain && !isIP(domain) ? { host: `.${domain}`, kind: 'subdomains', port } : undefined
  }
  const host = canonicalHost(hostText)
  if (!host || host.includes('*')) return undefined
  return { host, kind: isIP(host) ? 'address' : 'name', port }
}

function rangeEntry(net: string, bits: number, port: number | undefined): NetEntry | undefined {
  const family = isIP(net)
  if (!family || bits > (family === 4 ? 32 : 128)) return undefined
  const range = new BlockList()
  range.addSubnet(net, bits, family === 4 ? 'ipv4' : 'ipv6')
  return { host: `${net}/${bits}`, kind: 'range', range, family, port }
}

/** Whether the entry names this very host or address. */
export function entryNames(entry: NetEntry, host: string, port: number): boolean {
  if (entry.port !== undefined && entry.port !== port) return false
  if (entry.kind === 'subdomains') return host.endsWith(entry.host)
  if (entry.range) {
    const family = isIP(host)
    return family === entry.family && entry.range.check(host, family === 6 ? 'ipv6' : 'ipv4')
  }
  return entry.host === host
}
