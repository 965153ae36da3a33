import { parentPort } from 'node:worker_threads'
import { isLowbitError, type RoundingResult } from '@lowbit/core'
import { ALGORITHMS } from '../algorithms.js'
import { bestLinAlg } from './linalg.js'
import type { JobMessage, ResultMessage } from './worker-messages.js'

/** The other end of the worker pool: makes the algorithm from its name and configuration, and runs one job at a time. */
parentPort?.on('message', (message: JobMessage) => {
  const { id } = message
  run(message).then(
    (result) => answer({ id, result }),
    (error: unknown) => answer({ id, error: isLowbitError(error) ? { code: error.code, parts: { ...error.parts, cause: undefined }, message: error.message } : { message: String(error) } }),
  )
})

async function run({ algorithm, config, job }: JobMessage): Promise<RoundingResult> {
  const plugin = ALGORITHMS[algorithm](config)
  if (plugin.kind !== 'rounding') throw new Error(`${algorithm} rounds nothing`)
  return plugin.round({ ...job, linalg: bestLinAlg() })
}

function answer(message: ResultMessage): void {
  parentPort?.postMessage(message)
}
