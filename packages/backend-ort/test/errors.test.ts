import { type ErrorCode, int8, isLowbitError, quantize } from '@lowbit/core'
import { graph, hostToTensor, model, node, valueInfo, writeOnnx } from '@lowbit/formats'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { openOnnx } from '../src/index.js'
import { convolutions, matrices, tied } from './support/models.js'
import { randomCodes, randomTensor } from './support/random.js'

async function expectCode(work: () => Promise<unknown>, code: ErrorCode, words: string): Promise<void> {
  let thrown: unknown
  try {
    await work()
  } catch (error) {
    thrown = error
  }
  expect(isLowbitError(thrown, code), String(thrown)).toBe(true)
  expect(String(thrown)).toContain(words)
}

const withWeight = (data: Float32Array<ArrayBuffer>): Uint8Array<ArrayBuffer> =>
  writeOnnx(
    model(
      graph({
        nodes: [node('MatMul', ['x', 'w'], ['y'], {}, '', 'm')],
        initializers: [hostToTensor('w', { dtype: 'float32', shape: [4, 4], data })],
        inputs: [valueInfo('x', 'float32', ['n', 4])],
        outputs: [valueInfo('y', 'float32')],
      }),
      { '': 17 },
      8,
    ),
  )

describe('a wrong batch', () => {
  const x = randomTensor([5, 44], 1)
  it.each([
    ['no input', {}, 'missing'],
    ['another name', { x, z: x }, "'z'"],
    ['another dtype', { x: { dtype: 'float64', shape: [5, 44], data: new Float64Array(220) } }, 'float64'],
    ['another rank', { x: { ...x, shape: [1, 5, 44] } }, '[1, 5, 44]'],
    ['another size', { x: { ...x, shape: [44, 5] } }, '[n, 44]'],
    ['too few elements', { x: { ...x, data: x.data.slice(1) } }, '219'],
  ] as const)('%s is named', async (_, batch, words) => {
    const host = await openOnnx(matrices().bytes)
    await expectCode(() => host.run(batch), 'LOWBIT_DATA', words)
    await host.dispose()
  })
})

describe('a wrong model', () => {
  it.each([NaN, Infinity, -Infinity])('a weight of %d is named with its place, and nothing is written', async (value) => {
    const data = randomTensor([4, 4], 1).data
    data[6] = value
    const host = await openOnnx(withWeight(data))
    // Stored [K, N]: element 6 is row 2, column 1 of [N, K].
    await expectCode(() => quantize(host, { weights: int8() }), 'LOWBIT_NOTHING', 'row 2, column 1')
    await host.dispose()
  })

  it('a weight of another type is left alone, with the reason', async () => {
    const bytes = writeOnnx(
      model(
        graph({
          nodes: [node('MatMul', ['x', 'w'], ['y'], {}, '', 'm')],
          initializers: [hostToTensor('w', { dtype: 'float64', shape: [4, 4], data: new Float64Array(16) })],
          inputs: [valueInfo('x', 'float64', ['n', 4])],
          outputs: [valueInfo('y')],
        }),
      ),
    )
    const host = await openOnnx(bytes)
    expect(host.skipped()).toEqual([{ id: 'm', reason: 'its weight is float64, not float32 or float16', bytes: 128 }])
    await host.dispose()
  })

  it('a cycle, an empty file and garbage', async () => {
    const cycle = writeOnnx(model(graph({ nodes: [node('Relu', ['b'], ['a']), node('Relu', ['a'], ['b'])], inputs: [valueInfo('x', 'float32')], outputs: [valueInfo('a')] })))
    await expectCode(() => openOnnx(cycle), 'LOWBIT_FORMAT', 'cycle')
    await expectCode(() => openOnnx(new Uint8Array(0)), 'LOWBIT_FORMAT', 'model')
    await expectCode(() => openOnnx(Uint8Array.from({ length: 400 }, (_, i) => (i * 7919) % 256)), 'LOWBIT_FORMAT', 'model')
    await expectCode(() => openOnnx('no/such/model.onnx'), 'LOWBIT_FILE', 'no/such/model.onnx')
  })

  it('a file cut off or with bytes changed ends in a LowbitError or in a model, never otherwise', async () => {
    const files = [matrices(13).bytes, convolutions(13).bytes, tied(13).bytes]
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...files), fc.nat(), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }), async (file, cut, changes) => {
        const bytes = file.slice(0, cut % 3 === 0 ? cut % file.length : file.length)
        for (const [at, value] of changes) if (bytes.length > 0) bytes[at % Math.min(bytes.length, 600)] = value
        try {
          const host = await openOnnx(bytes)
          host.foldGroups()
          for (const site of host.sites()) {
            host.assign(site.id, randomCodes(int8(), [site.weight.rows, site.weight.columns], 1))
            await host.readWeight(site.id)
          }
          for (const format of ['matmul-nbits', 'dequantize']) (await host.emit(format)).bytes()
          await host.dispose()
        } catch (error) {
          if (!isLowbitError(error)) throw error
        }
      }),
      { numRuns: 400 },
    )
  })
})

describe('a wrong call', () => {
  it('is told what there is', async () => {
    const host = await openOnnx(matrices().bytes)
    await expectCode(() => host.readWeight('nothing'), 'LOWBIT_NOT_FOUND', "'first'")
    await expectCode(() => host.emit('gguf'), 'LOWBIT_UNSUPPORTED', 'matmul-nbits')
    await expectCode(async () => host.assign('first', randomCodes(int8(), [3, 3], 1)), 'LOWBIT_SHAPE', '[40, 44]')
    await expectCode(() => host.apply('nothing', { kind: 'scale', scales: new Float32Array(1) }), 'LOWBIT_NOT_FOUND', 'foldGroups')
    await expectCode(() => host.apply('x', { kind: 'scale', scales: new Float32Array(3) }), 'LOWBIT_SHAPE', '44')
    await expectCode(() => host.apply('x', { kind: 'scale', scales: new Float32Array(44) }), 'LOWBIT_ARGUMENT', 'channel 0')
    await expectCode(() => host.emit('matmul-nbits', { settings: { accuracyLevel: 9 } }), 'LOWBIT_ARGUMENT', '9')
    const stop = new AbortController()
    stop.abort()
    await expectCode(() => host.emit('dequantize', { signal: stop.signal }), 'LOWBIT_ABORTED', 'dequantize')
    await host.dispose()
  })
})
