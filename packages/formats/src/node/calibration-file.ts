import { stat } from 'node:fs/promises'
import type { CalibrationCache, CalibrationIdentity, RescueResult, StatisticName, StatisticValues } from '@lowbit/core'
import { decodeCalibration, encodeCalibration } from '../tensors/calibration.js'
import { atomicWrite } from './atomic-write.js'
import { readWholeFile } from './read-range.js'

export interface CalibrationFileOptions {
  /** Stands for the data. Default: SHA-256 over all batches, which reads the data once. */
  readonly data?: string
  /** Bytes of statistics that are kept; what does not fit is observed again in the next run. Default 512 MiB. */
  readonly maxBytes?: number
}

const DEFAULT_BYTES = 512 * 2 ** 20

/**
 * A cache of calibration statistics in a file. A file that is not there is an empty cache; one that is there must be whole and
 * fit the run. It is read when the run begins and written, if anything was added, when calibration has ended: beside the old one,
 * then renamed.
 * @throws (identity) LOWBIT_FILE, LOWBIT_FORMAT, LOWBIT_SHAPE, LOWBIT_LIMIT, LOWBIT_VERSION
 */
export function calibrationFile(path: string, { data, maxBytes = DEFAULT_BYTES }: CalibrationFileOptions = {}): CalibrationCache {
  const statistics = new Map<string, { readonly statistic: StatisticName; readonly value: StatisticValues[StatisticName] }>()
  const rescues = new Map<string, RescueResult>()
  let bytes = 0
  let changed = false
  return {
    name: path,
    ...(data === undefined ? {} : { data }),
    async identity(): Promise<CalibrationIdentity | undefined> {
      if (!(await exists(path))) return undefined
      // Names and numbers stand beside the arrays; they are small.
      const kept = decodeCalibration(await readWholeFile(path, 2 * maxBytes + (1 << 24)), path)
      for (const [key, entry] of kept.statistics) {
        statistics.set(key, entry)
        bytes += sizeOf(entry.value)
      }
      for (const [key, result] of kept.rescues) rescues.set(key, result)
      return kept.identity
    },
    get(key, statistic) {
      const found = statistics.get(key)
      return found?.statistic === statistic ? found.value : undefined
    },
    set(key, statistic, value) {
      const size = sizeOf(value)
      if (bytes + size > maxBytes) return
      bytes += size
      changed = true
      statistics.set(key, { statistic, value })
    },
    rescue: (key) => rescues.get(key),
    setRescue(key, result) {
      if (rescues.get(key) === result) return
      rescues.set(key, result)
      changed = true
    },
    async save(identity) {
      if (!changed) return
      await atomicWrite(path, [encodeCalibration({ identity, statistics, rescues })])
      changed = false
    },
  }
}

function sizeOf(value: StatisticValues[StatisticName]): number {
  return Object.values(value).reduce((sum: number, part: unknown) => sum + (ArrayBuffer.isView(part) ? part.byteLength : 8), 0)
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
