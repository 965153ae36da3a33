import { LowbitError, type DType, type HostTensor } from '@lowbit/core'
import { hostToFloat32 } from '../bytes/to-float32.js'

/** The tensors of one packed weight by the last part of their names: `qweight`, `scales`, … */
export type PartTensors = Readonly<Record<string, HostTensor>>

function part(parts: PartTensors, name: string, thing: string): HostTensor {
  const tensor = Object.hasOwn(parts, name) ? parts[name] : undefined
  if (tensor === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing, found: `no ${name}`, expected: `it beside ${Object.keys(parts).join(', ')}` })
  return tensor
}

function shaped(tensor: HostTensor, shape: readonly (number | undefined)[], thing: string): HostTensor {
  if (tensor.shape.length !== shape.length || shape.some((size, i) => size !== undefined && size !== tensor.shape[i])) {
    throw new LowbitError('LOWBIT_SHAPE', { thing, found: `[${tensor.shape.join(', ')}]`, expected: `[${shape.map((size) => size ?? '*').join(', ')}]` })
  }
  return tensor
}

/** A tensor of 32-bit words; unsigned ones are read as signed. */
export function wordsOf(parts: PartTensors, name: string, shape: readonly (number | undefined)[], thing: string): { readonly words: Int32Array; readonly shape: readonly number[] } {
  const tensor = shaped(part(parts, name, thing), shape, `${thing}.${name}`)
  const { data } = tensor
  if (data instanceof Int32Array) return { words: data, shape: tensor.shape }
  if (data instanceof Uint32Array) return { words: new Int32Array(data.buffer, data.byteOffset, data.length), shape: tensor.shape }
  throw wrongType(tensor.dtype, 'int32', `${thing}.${name}`)
}

export function bytesIn(parts: PartTensors, name: string, shape: readonly (number | undefined)[], thing: string): { readonly bytes: Uint8Array; readonly shape: readonly number[] } {
  const tensor = shaped(part(parts, name, thing), shape, `${thing}.${name}`)
  if (!(tensor.data instanceof Uint8Array)) throw wrongType(tensor.dtype, 'uint8', `${thing}.${name}`)
  return { bytes: tensor.data, shape: tensor.shape }
}

/** Floats of any width as float32. */
export function floatsOf(parts: PartTensors, name: string, shape: readonly (number | undefined)[], thing: string): Float32Array<ArrayBuffer> {
  const tensor = shaped(part(parts, name, thing), shape, `${thing}.${name}`)
  if (!/^b?float/.test(tensor.dtype)) throw wrongType(tensor.dtype, 'floats', `${thing}.${name}`)
  return hostToFloat32(tensor)
}

export const hasPart = (parts: PartTensors, name: string): boolean => Object.hasOwn(parts, name)

const wrongType = (found: DType, expected: string, thing: string): LowbitError => new LowbitError('LOWBIT_DTYPE', { thing, found, expected })
