import { LARGEST_HALF } from '@lowbit/core'
import { hostToFloat32, onnxTypeOf } from '@lowbit/formats'
import type { Finding } from '@lowbit/formats/doctor'
import { shieldedTensors } from '../static/masks.js'
import type { DoctorContext } from './context.js'

/** Infinities and NaN in stored float16 tensors: what the conversion could not hold. */
export async function float16Overflow(context: DoctorContext): Promise<Finding[]> {
  const where: string[] = []
  const saturated: string[] = []
  for (const tensor of context.graph.initializers()) {
    const type = onnxTypeOf(tensor.dataType)
    if (type !== 'float16' && type !== 'bfloat16' && type !== 'float32') continue
    const values = hostToFloat32(await context.load(tensor))
    // A mask may be -Infinity on purpose.
    if (values.some((v) => Number.isNaN(v) || v === Infinity || (v === -Infinity && values.length > 1 << 20))) where.push(tensor.name)
    else if (type === 'float16' && values.length > 1 && values.some((v) => Math.abs(v) === LARGEST_HALF)) saturated.push(tensor.name)
  }
  return [
    ...(where.length === 0 ? [] : [{ rule: 'not-finite', severity: 'error', where, found: `${where.length} stored tensors hold NaN or Infinity: what reads them gives NaN`, cure: 'convert the float32 original again: lowbit float16 keeps in float32 what float16 cannot hold' } as const]),
    ...(saturated.length === 0 ? [] : [{ rule: 'float16-saturated', severity: 'warning', where: saturated, found: `${saturated.length} float16 tensors stand at ±65504: they were cut off when they were converted`, cure: 'convert the float32 original again: lowbit float16' } as const]),
  ]
}

/** -3.4e38 becomes -Infinity in float16, and a row that is masked whole becomes NaN. */
export async function wideMask(context: DoctorContext): Promise<Finding[]> {
  const shielded = shieldedTensors(context.graph)
  const readers = context.nodes.filter((node) => node.output.some((name) => shielded.has(name)))
  const where = new Set<string>()
  for (const name of new Set(readers.flatMap((node) => node.input))) {
    const tensor = context.graph.constant(name)
    if (tensor === undefined || !context.isAtHand(tensor) || onnxTypeOf(tensor.dataType) !== 'float32') continue
    if (hostToFloat32(await context.load(tensor)).some((v) => v < -LARGEST_HALF && v !== -Infinity)) where.add(name)
  }
  if (where.size === 0) return []
  const half = [...context.types.values()].includes('float16')
  return [{ rule: 'wide-mask', severity: half ? 'error' : 'hint', where: [...where], found: `${where.size} masks add less than -65504: in float16 that is -Infinity, and a row that is masked whole becomes NaN${half ? '' : ' (this model is float32, where it does no harm)'}`, cure: 'lowbit float16 raises masks into the range' }]
}

/** A Cast to float32 and back again, or the other way round, that changes no value: two passes over the tensor. */
export function castPairs(context: DoctorContext): Finding[] {
  const pairs = context.ofType('Cast').filter((node) => exactPair(context, node.input[0] ?? '', node.output[0] ?? '') !== undefined)
  return pairs.length === 0 ? [] : [{ rule: 'cast-pairs', severity: 'warning', where: pairs.map((n) => n.name), found: `${pairs.length} Casts undo another Cast and change no value`, cure: 'remove them: --fix', fixable: true }]
}

/** The tensor that two Casts in a row bring back, if the type between holds all its values. */
export function exactPair({ graph, types }: Pick<DoctorContext, 'graph' | 'types'>, middle: string, end: string): string | undefined {
  const first = graph.producer(middle)
  const start = first?.opType === 'Cast' ? first.input[0] : undefined
  if (start === undefined) return undefined
  const [a, b, c] = [types.get(start), types.get(middle), types.get(end)]
  const widens = (a === 'float16' && (b === 'float32' || b === 'float64')) || (a === 'float32' && b === 'float64') || (a === 'bfloat16' && b === 'float32') || (a === 'int32' && b === 'int64')
  return a !== undefined && a === c && widens ? start : undefined
}
