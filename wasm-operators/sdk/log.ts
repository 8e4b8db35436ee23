// Lines for the pipeline's events. Asks for the permission `log` in the manifest.

import { LOG_DEBUG, LOG_ERROR, LOG_INFO, LOG_WARN } from '../abi.ts'
import { logLine } from './host.ts'

export namespace log {
  export function debug(text: string): void {
    line(LOG_DEBUG, text)
  }
  export function info(text: string): void {
    line(LOG_INFO, text)
  }
  export function warn(text: string): void {
    line(LOG_WARN, text)
  }
  export function error(text: string): void {
    line(LOG_ERROR, text)
  }
}

function line(level: i32, text: string): void {
  const encoded = String.UTF8.encode(text)
  logLine(level, changetype<usize>(encoded), encoded.byteLength)
}
