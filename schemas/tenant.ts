// What a host is told of a tenant: bounds, grants, secrets. The manager keeps it and says it again after a restart.

export interface Quotas {
  pipelines?: number
  instances?: number
  memoryMiB?: number
  fuelPerSecond?: number
  recordsPerSecond?: number
  bytesPerSecond?: number
  topicBytes?: number
  operators?: number
  compileSeconds?: number
}

export interface Grants {
  net?: string[]
  read?: string[]
  write?: string[]
  env?: string[]
  topic?: string[]
}

export interface TenantSpec {
  id: string
  /** What is not named has no bound. */
  quotas: Quotas
  /** Absent: the host's own flags alone decide (the tenant `default` without tokens). */
  grants?: Grants
  /** Values of `${secret:NAME}`; they never leave the host again. */
  secrets: Record<string, string>
}
