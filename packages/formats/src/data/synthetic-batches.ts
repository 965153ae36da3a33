import { allocate, elementCount, LowbitError, type Batch, type TensorRef } from '@lowbit/core'

/** Size given to an axis that the model leaves open. */
const OPEN_AXIS = 16
/** Largest tensor that is made up. */
const MAX_ELEMENTS = 1e8

/** Made-up batches: normal numbers for floats, 0 and 1 for integers and booleans. They run a model; they do not measure it. */
export function syntheticBatches(inputs: readonly TensorRef[], count: number): readonly Batch[] {
  let state = 1
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return (state + 0.5) / 2 ** 32
  }
  return Array.from({ length: count }, () =>
    Object.fromEntries(
      inputs.map(({ name, dtype = 'float32', shape = [] }) => {
        const dims = shape.map((d, axis) => (typeof d === 'number' && d > 0 ? d : axis === 0 ? 1 : OPEN_AXIS))
        const size = elementCount(dims, name)
        if (size > MAX_ELEMENTS) throw new LowbitError('LOWBIT_LIMIT', { thing: `input ${name}`, found: `${size} elements`, expected: `at most ${MAX_ELEMENTS} made-up ones`, fix: 'give data of your own' })
        const data = allocate(dtype, size)
        const float = dtype === 'float32' || dtype === 'float64'
        for (let i = 0; i < size; i++) {
          const value = float ? Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random()) : random() < 0.5 ? 0 : 1
          data[i] = data instanceof BigInt64Array || data instanceof BigUint64Array ? BigInt(value) : value
        }
        return [name, { dtype, shape: dims, data }]
      }),
    ),
  )
}
