import { LowbitError } from '../errors.js'
import { checkQTensor, type PackedTensor, type QTensor } from '../qtensor.js'
import { describeScheme, type Scheme } from '../scheme.js'

/**
 * How the bytes of a quantized tensor lie. A layout is data: a name, a size formula, and the two ways between meaning and bytes.
 */
export interface Layout {
  /** As it stands in {@link PackedTensor.layout}. */
  readonly name: string
  /** Why a tensor of this scheme and shape does not fit, or undefined if it does. */
  refuses(scheme: Scheme, shape: readonly number[]): string | undefined
  /** Bytes of all buffers together. */
  size(scheme: Scheme, shape: readonly number[]): number
  /** @throws LOWBIT_UNSUPPORTED with what {@link refuses} says. */
  pack(q: QTensor): PackedTensor
  /** @throws LOWBIT_FORMAT if the buffers do not have the sizes that scheme and shape ask for. */
  unpack(packed: PackedTensor): QTensor
}

/** Throws what a layout says against a tensor. */
export function expectFits(layout: Layout, q: Pick<QTensor, 'scheme' | 'shape'>): void {
  const reason = layout.refuses(q.scheme, q.shape)
  if (reason !== undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `layout ${layout.name}`, found: `${describeScheme(q.scheme)} of shape [${q.shape.join(', ')}]`, expected: reason })
}

/** A byte buffer of a packed tensor, checked: size in bytes. */
export function byteBuffer(packed: PackedTensor, role: string, length: number): Uint8Array {
  const buffer = packed.buffers[role]
  if (!(buffer instanceof Uint8Array) || buffer.length !== length) throw wrongBuffer(packed, role, `${length} bytes`)
  return buffer
}

/** A float32 buffer of a packed tensor, checked: number of elements. */
export function floatBuffer(packed: PackedTensor, role: string, length: number): Float32Array {
  const buffer = packed.buffers[role]
  if (!(buffer instanceof Float32Array) || buffer.length !== length) throw wrongBuffer(packed, role, `${length} float32`)
  return buffer
}

/** An int32 buffer of a packed tensor, checked: number of elements. */
export function wordBuffer(packed: PackedTensor, role: string, length: number): Int32Array {
  const buffer = packed.buffers[role]
  if (!(buffer instanceof Int32Array) || buffer.length !== length) throw wrongBuffer(packed, role, `${length} int32`)
  return buffer
}

/** A float16 buffer (raw bits) of a packed tensor, checked: number of elements. */
export function halfBuffer(packed: PackedTensor, role: string, length: number): Uint16Array {
  const buffer = packed.buffers[role]
  if (!(buffer instanceof Uint16Array) || buffer.length !== length) throw wrongBuffer(packed, role, `${length} float16`)
  return buffer
}

function wrongBuffer(packed: PackedTensor, role: string, expected: string): LowbitError {
  const buffer = packed.buffers[role]
  const found = buffer === undefined ? 'no such buffer' : `${buffer.constructor.name} of ${buffer.length}`
  return new LowbitError('LOWBIT_FORMAT', { thing: `${packed.layout} buffer '${role}'`, found, expected })
}

/**
 * The tensor that a packed one stands for.
 * @throws LOWBIT_UNSUPPORTED without a layout, or for one of another name
 */
export function unpackWith(packed: PackedTensor, layout: Layout | undefined): QTensor {
  if (layout === undefined || layout.name !== packed.layout) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', {
      thing: `weights in layout '${packed.layout}'`,
      found: layout === undefined ? 'no layout to read them by' : `the layout '${layout.name}'`,
      expected: 'the layout that packed them',
      fix: 'pass it as { layout }: @lowbit/formats/layouts has those of files',
    })
  }
  const q = layout.unpack(packed)
  checkQTensor(q, `weights in layout '${packed.layout}'`)
  return q
}
