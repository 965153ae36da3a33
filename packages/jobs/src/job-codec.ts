import { checkQTensor, isCodeType, isLowbitError, LowbitError, type Codes, type JobResult, type Json, type Notes, type QTensor, type ReaderResult, type Scheme } from '@lowbit/core'
import { decodeValue, encodeValue, isRecord } from '@lowbit/formats'

/** What is kept of one site. */
export interface KeptJob {
  /** Digest of what the result depends on. */
  readonly identity: string
  readonly site: string
  readonly result: JobResult
}

/** A job's result as bytes, with its checksum. */
export function encodeJob(kept: KeptJob): Promise<Uint8Array<ArrayBuffer>> {
  return encodeValue({ kind: 'job', version: 1, ...kept })
}

/**
 * A job's result from bytes.
 * @param thing - what the bytes are, for errors
 * @throws LOWBIT_FORMAT for bytes that are none, LOWBIT_VERSION for those of another version
 */
export async function decodeJob(bytes: Uint8Array, thing: string): Promise<KeptJob> {
  const value = await decodeValue(bytes, thing)
  if (!isRecord(value) || value.kind !== 'job') throw bad(thing, 'no job')
  if (value.version !== 1) throw new LowbitError('LOWBIT_VERSION', { thing, found: `version ${String(value.version)}`, expected: '1', fix: 'delete it: it is made again' })
  const { identity, site, result } = value
  if (typeof identity !== 'string' || typeof site !== 'string' || !isResult(result)) throw bad(thing, 'a job that lacks something')
  try {
    checkQTensor(result.q, thing)
  } catch (cause) {
    throw isLowbitError(cause) ? new LowbitError('LOWBIT_FORMAT', { ...cause.parts, cause }) : cause
  }
  return { identity, site, result }
}

function bad(thing: string, found: string): LowbitError {
  return new LowbitError('LOWBIT_FORMAT', { thing, found, expected: 'the result of a job', fix: 'delete it: it is made again' })
}

function isResult(value: unknown): value is JobResult {
  if (!isRecord(value)) return false
  const { q, notes, warnings, weightSqnr, readers } = value
  return isQTensor(q) && isNotes(notes) && (warnings === undefined || isTexts(warnings)) && typeof weightSqnr === 'number' && Array.isArray(readers) && readers.every(isReader)
}

function isReader(value: unknown): value is ReaderResult {
  return isRecord(value) && typeof value.id === 'string' && (value.outputSqnr === undefined || typeof value.outputSqnr === 'number') && (value.meanShift === undefined || value.meanShift instanceof Float32Array)
}

function isQTensor(value: unknown): value is QTensor {
  if (!isRecord(value) || !isRecord(value.params)) return false
  const { scales, shape, zeroPoints } = value.params
  return isScheme(value.scheme) && isShape(value.shape) && isCodes(value.codes) && scales instanceof Float32Array && isShape(shape) && (zeroPoints === undefined || zeroPoints instanceof Int32Array || zeroPoints instanceof Float32Array)
}

function isScheme(value: unknown): value is Scheme {
  return isRecord(value) && typeof value.dtype === 'string' && isCodeType(value.dtype) && isRecord(value.granularity) && typeof value.symmetric === 'boolean'
}

function isCodes(value: unknown): value is Codes {
  return value instanceof Int8Array || value instanceof Uint8Array || value instanceof Int16Array || value instanceof Uint16Array
}

function isShape(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0)
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((text) => typeof text === 'string')
}

function isNotes(value: unknown): value is Notes | undefined {
  return value === undefined || (isRecord(value) && Object.values(value).every(isJson))
}

function isJson(value: unknown): value is Json {
  if (value === null || typeof value === 'boolean' || typeof value === 'number' || typeof value === 'string') return true
  return Array.isArray(value) ? value.every(isJson) : isRecord(value) && Object.values(value).every(isJson)
}

