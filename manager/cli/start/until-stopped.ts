// SIGTERM and SIGINT end a process that was started, once.

/** @param stop ends all of it, in time */
export function stopOnSignals(stop: () => Promise<void>): void {
  let isStopping = false
  const end = async (): Promise<void> => {
    if (isStopping) return
    isStopping = true
    await stop()
    process.exit(0)
  }
  process.on('SIGTERM', end)
  process.on('SIGINT', end)
}
