// Deno's permission flags as options of a command.

import type { Command } from 'commander'
import { PERMISSION_KINDS, Permissions } from '../../../host/permissions/permissions.ts'

const WHAT: Record<(typeof PERMISSION_KINDS)[number], string> = {
  net: 'host:port,…',
  read: 'path,…',
  write: 'path,…',
  env: 'NAME,…',
  topic: 'pattern,…',
}

const VERBS = ['allow', 'deny'] as const

/** Adds --allow-… and --deny-… of each kind; without a list they mean all. */
export function addPermissionOptions(command: Command): Command {
  for (const verb of VERBS) {
    for (const kind of PERMISSION_KINDS) {
      const list = command.createOption(`--${verb}-${kind} [list]`, `${verb} ${kind}: ${WHAT[kind]}`)
      command.addOption(list.argParser((value: string, before: string[] | undefined) => [...(before ?? []), value]))
    }
  }
  return command
}

/** @throws SpqrError INVALID_BODY with one issue per flag that cannot be read */
export function permissionsOf(options: Record<string, unknown>): Permissions {
  const flags: string[] = []
  for (const verb of VERBS) {
    for (const kind of PERMISSION_KINDS) {
      const value = options[`${verb}${kind[0]!.toUpperCase()}${kind.slice(1)}`]
      if (value === true) flags.push(`--${verb}-${kind}`)
      for (const list of Array.isArray(value) ? value : []) flags.push(`--${verb}-${kind}=${list}`)
    }
  }
  return Permissions.parse(flags)
}
