import { createHash } from 'node:crypto'
import { mkdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { hasDType, isLowbitError, tensor, type Codes, type HostTensor, type JobStore, type QTensor, type RoundingResult } from '@lowbit/core'
import { readSafetensors, writeSafetensors } from '@lowbit/formats'
import { atomicWrite } from '@lowbit/formats/node'

/** A {@link JobStore} in a folder, one file a site, and the way to take it away when the work is done. */
export interface WorkFolder extends JobStore {
  readonly path: string
  /** Sites that an earlier run left behind and this one took over. */
  readonly resumed: () => number
  remove(): Promise<void>
}

/**
 * Opens the work folder of a run. `identity` names everything that the result depends on (model, recipe, data):
 * sites kept under another identity are thrown away.
 */
export async function openWorkFolder(folder: string, identity: string): Promise<WorkFolder> {
  const path = join(folder, identity.slice(0, 16))
  let resumed = 0
  let made = false
  const fileOf = (site: string): string => join(path, `${createHash('sha256').update(site).digest('hex').slice(0, 24)}.safetensors`)
  return {
    path,
    resumed: () => resumed,
    async load(site) {
      try {
        const result = decodeResult(await readFile(fileOf(site)), site)
        if (result !== undefined) resumed++
        return result
      } catch (error) {
        // A file that is missing or was cut short is simply computed again.
        if (isMissing(error) || isLowbitError(error)) return undefined
        throw error
      }
    },
    async save(site, result) {
      if (!made) await mkdir(path, { recursive: true })
      made = true
      await atomicWrite(fileOf(site), [encodeResult(site, result)])
    },
    async remove() {
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** SHA-256 over what a run depends on: JSON values as they are, files by name, size and time of change. */
export async function runIdentity(values: readonly unknown[], files: readonly string[]): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify(values))
  for (const file of files) {
    const { size, mtimeMs } = await stat(file)
    hash.update(`${file} ${size} ${mtimeMs}\n`)
  }
  return hash.digest('hex')
}

function encodeResult(site: string, { q, notes, warnings }: RoundingResult): Uint8Array {
  const codesDtype = q.codes instanceof Int8Array ? 'int8' : q.codes instanceof Uint8Array ? 'uint8' : q.codes instanceof Int16Array ? 'int16' : 'uint16'
  const tensors: Record<string, HostTensor> = {
    codes: { dtype: codesDtype, shape: q.shape, data: q.codes.slice() },
    scales: tensor('float32', q.params.shape, q.params.scales.slice()),
  }
  const { zeroPoints } = q.params
  if (zeroPoints !== undefined) tensors.zeroPoints = { dtype: zeroPoints instanceof Int32Array ? 'int32' : 'float32', shape: q.params.shape, data: zeroPoints.slice() }
  return writeSafetensors(tensors, { site, scheme: JSON.stringify(q.scheme), notes: JSON.stringify(notes ?? null), warnings: JSON.stringify(warnings ?? null) })
}

function decodeResult(bytes: Uint8Array, site: string): RoundingResult | undefined {
  const file = readSafetensors(bytes, `kept work of ${site}`)
  if (file.metadata.site !== site) return undefined
  const codes = file.read('codes')
  const scales = file.read('scales')
  const zeroPoints = file.entries.has('zeroPoints') ? file.read('zeroPoints') : undefined
  if (!isCodes(codes.data) || !hasDType(scales, 'float32')) return undefined
  if (zeroPoints !== undefined && !hasDType(zeroPoints, 'int32') && !hasDType(zeroPoints, 'float32')) return undefined
  const notes = JSON.parse(file.metadata.notes) as RoundingResult['notes'] | null
  const warnings = JSON.parse(file.metadata.warnings) as readonly string[] | null
  return {
    q: {
      scheme: JSON.parse(file.metadata.scheme) as QTensor['scheme'],
      shape: codes.shape,
      // Copies: views would keep the whole file in memory.
      codes: codes.data.slice(),
      params: { scales: scales.data.slice(), shape: scales.shape, ...(zeroPoints === undefined ? {} : { zeroPoints: zeroPoints.data.slice() }) },
    },
    ...(notes === null || notes === undefined ? {} : { notes }),
    ...(warnings === null ? {} : { warnings }),
  }
}

function isCodes(data: unknown): data is Codes {
  return data instanceof Int8Array || data instanceof Uint8Array || data instanceof Int16Array || data instanceof Uint16Array
}

function isMissing(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOENT'
}
