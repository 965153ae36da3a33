import { LowbitError } from '@lowbit/core'
import type { StoredTensor } from '@lowbit/formats/gguf'
import type { Part } from '../forward/parts.js'

export interface PartNames {
  /** For messages: the file. */
  readonly thing: string
  readonly tensors: ReadonlyMap<string, StoredTensor>
  nameOf(part: Part): string
  /** Shape in the file, where it is not that of the part. */
  storedShape?(part: Part): readonly number[]
  /** Tensors that may be there without a part of their own. */
  mayIgnore(name: string): boolean
}

/** Names that errors list. */
const SHOWN = 6

/**
 * Holds what a configuration asks for against what the file has: nothing missing, nothing of another size, nothing left over.
 * @throws LOWBIT_NOT_FOUND, LOWBIT_SHAPE, LOWBIT_FORMAT.
 */
export function checkParts(parts: readonly Part[], { thing, tensors, nameOf, storedShape, mayIgnore }: PartNames): void {
  const missing = parts.filter((part) => !tensors.has(nameOf(part)))
  if (missing.length > 0) {
    throw new LowbitError('LOWBIT_NOT_FOUND', { thing, found: `${missing.length} tensors are missing: ${some(missing.map(nameOf))}`, expected: 'what the configuration asks for', fix: 'the file is not complete, or its configuration belongs to another model' })
  }
  for (const part of parts) {
    const name = nameOf(part)
    const found = tensors.get(name)?.shape ?? []
    const expected = storedShape?.(part) ?? part.shape
    if (found.join() !== expected.join()) {
      throw new LowbitError('LOWBIT_SHAPE', { thing: `${thing}: tensor '${name}'`, found: `[${found.join(', ')}]`, expected: `[${expected.join(', ')}], as the configuration has it`, fix: 'the configuration belongs to another model' })
    }
  }
  const used = new Set(parts.map(nameOf))
  const left = [...tensors.keys()].filter((name) => !used.has(name) && !mayIgnore(name))
  if (left.length > 0) {
    throw new LowbitError('LOWBIT_FORMAT', { thing, found: `${left.length} tensors that the configuration has no place for: ${some(left)}`, expected: 'only what the model computes with', fix: 'the configuration belongs to another model' })
  }
}

function some(names: readonly string[]): string {
  return `${names.slice(0, SHOWN).map((name) => `'${name.slice(0, 100)}'`).join(', ')}${names.length > SHOWN ? ', …' : ''}`
}
