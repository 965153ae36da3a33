import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isLowbitError } from '@lowbit/core'
import { decodeValue, encodeValue, type Value } from '@lowbit/formats'

const arrays = fc.oneof(fc.int8Array(), fc.uint8Array(), fc.int16Array(), fc.uint16Array(), fc.int32Array(), fc.uint32Array(), fc.float32Array(), fc.float64Array(), fc.bigInt64Array(), fc.bigUint64Array())
const { value } = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof({ depthSize: 'small' }, fc.constant(null), fc.boolean(), fc.double(), fc.string(), arrays, fc.array(tie('value')), fc.dictionary(fc.oneof(fc.string(), fc.constantFrom('$', 'at', '__proto__', 'constructor')), tie('value'))),
}))

describe('values as bytes', () => {
  it('come back as they were: every number, array and key', async () => {
    await fc.assert(fc.asyncProperty(value, async (v) => {
        expect(await decodeValue(await encodeValue({ v }), 'test')).toEqual({ v })
      }), { numRuns: 200 })
    const odd = { nan: NaN, minus: -0, most: [Infinity, -Infinity], mark: { $: 'float32', at: 0, length: 9e9 } }
    const back = await decodeValue(await encodeValue(odd), 'test')
    expect(back).toEqual(odd)
    expect(Object.is((back as typeof odd).minus, -0)).toBe(true)
  })

  it('are the same bytes for the same value', async () => {
    await fc.assert(fc.asyncProperty(value, async (v) => {
        expect(await encodeValue({ v })).toEqual(await encodeValue(structuredClone({ v })))
      }), { numRuns: 50 })
  })

  it('leave out members that are undefined, and refuse what is no plain data', async () => {
    expect(await decodeValue(await encodeValue({ a: undefined, b: 1 }), 'test')).toEqual({ b: 1 })
    const circle: { self?: object } = {}
    circle.self = circle
    for (const bad of [{ f: () => 1 }, { m: new Map() }, { v: new DataView(new ArrayBuffer(1)) }, circle, { b: 1n }]) await expect(encodeValue(bad)).rejects.toMatchObject({ code: 'LOWBIT_ARGUMENT' })
  })

  it('are refused with a reason where a bit was changed, bytes are missing, or another version wrote them', async () => {
    const value = { codes: Int8Array.of(1, 2, 3), notes: 'all well' }
    const whole = await encodeValue(value)
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: whole.length - 1 }), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const changed = whole.slice()
        changed[at] ^= flip
        // A few bytes say nothing: padding, say.
        expect(await decodeValue(changed, 'test').catch((error: unknown) => (isLowbitError(error) ? 'refused' : error))).toSatisfy((v) => v === 'refused' || JSON.stringify(v) === JSON.stringify(value))
        await expect(decodeValue(whole.subarray(0, at), 'test')).rejects.toMatchObject({ code: 'LOWBIT_FORMAT' })
      }),
    )
    const newer = Uint8Array.from(Array.from(whole, (byte) => String.fromCharCode(byte)).join('').replace('"lowbit":"1"', '"lowbit":"9"'), (c) => c.charCodeAt(0))
    await expect(decodeValue(newer, 'kept work of q')).rejects.toThrow(/LOWBIT_VERSION: kept work of q: version 9/)
  })

  it('of any bytes is a value or an error of lowbit', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), async (bytes) => {
        await expect(decodeValue(bytes, 'test')).rejects.toMatchObject({ code: 'LOWBIT_FORMAT' })
      }),
    )
  })

  it('are read from a part of a larger buffer, and do not keep it', async () => {
    const bytes = await encodeValue({ x: Float64Array.of(1, 2) })
    const inside = new Uint8Array(bytes.length + 3)
    inside.set(bytes, 3)
    const back = await decodeValue(inside.subarray(3), 'test')
    expect(back).toEqual({ x: Float64Array.of(1, 2) })
    expect((back as { readonly x: Float64Array }).x.buffer.byteLength).toBe(16)
  })
})
