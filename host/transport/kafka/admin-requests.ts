// Metadata, coordinators, topics and their settings.
// Runs on: bridge.

import { check } from './kafka-fault.ts'
import type { KafkaRequest } from './request.ts'
import { WireWriter } from './wire.ts'

export interface TopicMetadata {
  name: string
  /** A fault's code, or 0. */
  error: number
  isInternal: boolean
  /** Node id of the leader by partition; -1: none at the moment. */
  leaders: number[]
}

export interface ClusterMetadata {
  clusterId: string | null
  brokers: { id: number; host: string; port: number }[]
  controller: number
  topics: TopicMetadata[]
}

/** @param topics null: all. None is made by asking for it */
export function metadataRequest(topics: readonly string[] | null): KafkaRequest<ClusterMetadata> {
  const out = new WireWriter()
  if (topics === null) out.i32(-1)
  else {
    out.array(topics, (topic) => {
      out.string(topic)
    })
  }
  out.bool(false)
  return {
    apiKey: 3,
    apiVersion: 5,
    apiName: 'Metadata',
    body: out.bytes,
    read: (from) => {
      from.throttle()
      const brokers = from.array(() => {
        const broker = { id: from.i32(), host: from.string(), port: from.i32() }
        from.nullableString()
        return broker
      })
      const clusterId = from.nullableString()
      const controller = from.i32()
      const found = from.array((): TopicMetadata => {
        const error = from.i16()
        const name = from.string()
        const isInternal = from.bool()
        const leaders: number[] = []
        from.array(() => {
          const code = from.i16()
          const partition = from.i32()
          const leader = from.i32()
          leaders[partition] = code === 0 || code === 9 ? leader : -1
          for (let i = 0; i < 3; i++) from.array(() => from.i32())
        })
        return { name, error, isInternal, leaders }
      })
      return { clusterId, brokers, controller, topics: found }
    },
  }
}

export type CoordinatorType = 'group' | 'transaction'

export function findCoordinatorRequest(
  type: CoordinatorType,
  key: string,
): KafkaRequest<{ id: number; host: string; port: number }> {
  return {
    apiKey: 10,
    apiVersion: 1,
    apiName: 'FindCoordinator',
    body: new WireWriter().string(key).i8(type === 'group' ? 0 : 1).bytes,
    read: (from) => {
      from.throttle()
      const code = from.i16()
      check(code, from.nullableString())
      return { id: from.i32(), host: from.string(), port: from.i32() }
    },
  }
}

export function createTopicRequest(
  name: string,
  partitions: number,
  replication: number,
  settings: Record<string, string>,
  timeoutMs: number,
): KafkaRequest<void> {
  const out = new WireWriter()
  out.i32(1).string(name).i32(partitions).i16(replication).i32(0)
  out.array(Object.entries(settings), ([key, value]) => {
    out.string(key).string(value)
  })
  out.i32(timeoutMs).bool(false)
  return {
    apiKey: 19,
    apiVersion: 4,
    apiName: 'CreateTopics',
    body: out.bytes,
    read: (from) => {
      from.throttle()
      from.array(() => {
        from.string()
        const code = from.i16()
        check(code, from.nullableString())
      })
    },
  }
}

export function deleteTopicRequest(name: string, timeoutMs: number): KafkaRequest<void> {
  return {
    apiKey: 20,
    apiVersion: 1,
    apiName: 'DeleteTopics',
    body: new WireWriter().i32(1).string(name).i32(timeoutMs).bytes,
    read: (from) => {
      from.throttle()
      from.array(() => {
        from.string()
        check(from.i16())
      })
    },
  }
}

/** To the partition's leader: records before the offset go. */
export function deleteRecordsRequest(
  topic: string,
  partition: number,
  before: number,
  timeoutMs: number,
): KafkaRequest<void> {
  const body = new WireWriter().i32(1).string(topic).i32(1).i32(partition).i64(before).i32(timeoutMs).bytes
  return {
    apiKey: 21,
    apiVersion: 1,
    apiName: 'DeleteRecords',
    body,
    read: (from) => {
      from.throttle()
      from.array(() => {
        from.string()
        from.array(() => {
          from.i32()
          from.i64()
          check(from.i16())
        })
      })
    },
  }
}

const RESOURCE_TOPIC = 2

/** @returns settings by topic; one that is gone meanwhile, or not ours to see, has none */
export function describeTopicsRequest(
  topics: readonly string[],
  names: readonly string[],
): KafkaRequest<Map<string, Map<string, string>>> {
  const out = new WireWriter()
  out.array(topics, (topic) => {
    out.i8(RESOURCE_TOPIC).string(topic)
    out.array(names, (name) => {
      out.string(name)
    })
  })
  out.bool(false)
  return {
    apiKey: 32,
    apiVersion: 1,
    apiName: 'DescribeConfigs',
    body: out.bytes,
    read: (from) => {
      from.throttle()
      const all = new Map<string, Map<string, string>>()
      from.array(() => {
        from.i16()
        from.nullableString()
        from.i8()
        const topic = from.string()
        const settings = new Map<string, string>()
        from.array(() => {
          const name = from.string()
          const value = from.nullableString()
          from.bool()
          from.i8()
          from.bool()
          from.array(() => {
            from.string()
            from.nullableString()
            from.i8()
          })
          if (value !== null) settings.set(name, value)
        })
        all.set(topic, settings)
      })
      return all
    },
  }
}

/** @returns bytes of the log of every replica that this broker has, by topic and partition */
export function describeLogDirsRequest(): KafkaRequest<{ topic: string; partition: number; bytes: number }[]> {
  return {
    apiKey: 35,
    apiVersion: 1,
    apiName: 'DescribeLogDirs',
    // No list: all of them.
    body: new WireWriter().i32(-1).bytes,
    read: (from) => {
      from.throttle()
      const all: { topic: string; partition: number; bytes: number }[] = []
      from.array(() => {
        check(from.i16())
        from.string()
        from.array(() => {
          const topic = from.string()
          from.array(() => {
            const partition = from.i32()
            const bytes = from.i64()
            from.i64()
            const isMoving = from.bool()
            if (!isMoving) all.push({ topic, partition, bytes })
          })
        })
      })
      return all
    },
  }
}
