import { createReadStream } from 'node:fs'
import { readdir, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isLowbitError } from '@lowbit/core'
import { externalRange, isExternal, MAX_PROTOBUF_BYTES, readOnnx, tensorsOf } from '../onnx/index.js'
import { systemCode } from './file-error.js'
import { readTextFile, readWholeFile } from './read-range.js'

/** Marks a temporary file that says: a model is about to switch from one data file to another. */
export const SWITCH = '.switch'

const MAX_PLAN = 1 << 16

/** Names inside one folder. */
export interface PairSwitch {
  readonly model: string
  /** Data files of which the model will refer to one at most when the switch is over. */
  readonly data: readonly string[]
}

/** Says so on the disk, before a data file gets its name. */
export async function announceSwitch(path: string, plan: PairSwitch): Promise<void> {
  await writeFile(path, JSON.stringify(plan), { flag: 'wx', flush: true })
}

/** Removes the data files that neither the model nor another one beside it refers to. Only files that saving a model made are touched. */
export async function settle(folder: string, { model, data }: PairSwitch): Promise<void> {
  const used = await dataFilesOf(join(folder, model)).catch((error: unknown) => (isMissing(error) ? new Set<string>() : undefined))
  // A file that cannot be read does not say which data it needs.
  if (used === undefined) return
  for (const name of data) {
    if (!isDataFileOf(model, name) || used.has(name) || (await isReadBeside(folder, model, name))) continue
    await unlink(join(folder, name)).catch(() => undefined)
  }
}

/** True if another model of the folder names a data file, as a copy of the model does. One that cannot be read may. */
async function isReadBeside(folder: string, model: string, data: string): Promise<boolean> {
  const others = (await readdir(folder).catch(() => [])).filter((name) => name !== model && name.endsWith('.onnx'))
  for (const name of others) if (await mentions(join(folder, name), data).catch(() => true)) return true
  return false
}

/** True if the bytes of a file hold a text of ASCII. A model may be large: it is read in pieces. */
async function mentions(path: string, text: string): Promise<boolean> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const piece of createReadStream(path) as AsyncIterable<Buffer>) {
    const seen = Buffer.concat([rest, piece])
    if (seen.includes(text)) return true
    rest = seen.subarray(Math.max(0, seen.length - text.length))
  }
  return false
}

/** Ends a switch that a process announced and died in. */
export async function settleSwitch(folder: string, path: string): Promise<void> {
  const plan = parse(await readTextFile(path, MAX_PLAN).catch(() => ''))
  if (plan !== undefined) await settle(folder, plan)
}

/** True for the name that saving a model gives its data file: the model's, a hash, `.data`. */
export function isDataFileOf(model: string, name: string): boolean {
  return name.startsWith(`${model}.`) && /^\.[0-9a-f]{16}\.data$/.test(name.slice(model.length))
}

/** Locations that a model's external tensors name; none if there is no such file. @throws if it is no model */
export async function dataFilesOf(path: string): Promise<ReadonlySet<string>> {
  const bytes = await readWholeFile(path, MAX_PROTOBUF_BYTES)
  return new Set([...tensorsOf(readOnnx(bytes))].filter(isExternal).map((t) => externalRange(t).location))
}

function isMissing(error: unknown): boolean {
  return isLowbitError(error) && systemCode(error.cause) === 'ENOENT'
}

function parse(text: string): PairSwitch | undefined {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null || !('model' in value) || !('data' in value)) return undefined
    const { model, data } = value
    const isName = (name: unknown): name is string => typeof name === 'string' && !/[\\/\0]/.test(name)
    return isName(model) && Array.isArray(data) && data.every(isName) ? { model, data } : undefined
  } catch {
    return undefined
  }
}
