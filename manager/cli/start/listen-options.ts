// Where a manager or host listens.

import { isIP } from 'node:net'
import { type Command, InvalidArgumentError } from 'commander'

export interface ListenOptions {
  port: number
  listen: string
}

export function addListenOptions(command: Command, port: number): Command {
  return command
    .option('--port <port>', 'where the API listens; 0 picks a free one', numberIn(0, 65_535), port)
    .option('--listen <address>', 'IP address to listen on', addressOf, '127.0.0.1')
}

/** Whether only this machine can reach it. */
export const isLoopback = (address: string): boolean => address === '::1' || address.startsWith('127.')

/** Reads a whole number of an option. */
export function numberIn(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
    if (value >= min && value <= max) return value
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`)
  }
}

function addressOf(text: string): string {
  if (isIP(text) > 0) return text
  throw new InvalidArgumentError(`"${text}" is no IP address: 127.0.0.1 is this machine alone, 0.0.0.0 every network.`)
}
