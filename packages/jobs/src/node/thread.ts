import { parentPort, workerData } from 'node:worker_threads'
import { LowbitError, type LinAlg, type PluginFactory } from '@lowbit/core'
import { serveJobs } from '../serve-jobs.js'
import type { ThreadData } from './thread-runner.js'

/** The worker of {@link threadRunner}: loads what it is told to, then rounds sites. */
const { algorithms, linalg } = workerData as ThreadData

async function exported<F>([module, name]: readonly [string, string]): Promise<F> {
  const found: unknown = (await import(module) as Readonly<Record<string, unknown>>)[name]
  if (typeof found !== 'function') throw new LowbitError('LOWBIT_NOT_FOUND', { thing: `export ${name} of ${module}`, found: typeof found, expected: 'a function' })
  // Its name was given for what it makes; what it makes is checked when it is used.
  return found as F
}

const table: Record<string, PluginFactory> = {}
for (const [name, from] of Object.entries(algorithms)) table[name] = await exported<PluginFactory>(from)
const own = linalg === undefined ? undefined : (await exported<() => LinAlg>(linalg))()
if (parentPort !== null) serveJobs({ port: parentPort, algorithms: table, ...(own === undefined ? {} : { linalg: own }) })
