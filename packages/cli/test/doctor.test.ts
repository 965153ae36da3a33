import { existsSync, statSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { sandbox, type Sandbox } from './support/sandbox.js'

let box: Sandbox
beforeEach(() => {
  box = sandbox()
})
afterEach(() => box.remove())

describe('lowbit doctor', () => {
  it('says what a target costs, with exit code 1 for errors alone', async () => {
    await box.lowbit('quantize', box.path('model.onnx'), '-o', box.path('q.onnx'))
    const plain = await box.lowbit('doctor', box.path('q.onnx'), '--json')
    expect(plain.code).toBe(0)
    expect(JSON.parse(plain.out)).toMatchObject({ findings: [{ rule: 'integers-on-webgpu', severity: 'hint' }] })
    const bound = await box.lowbit('doctor', box.path('q.onnx'), '-t', 'tensorrt')
    expect(bound.code).toBe(1)
    expect(bound.out).toContain('✗ tensorrt')
    expect(bound.err).toBe('')
  })

  it('finds nothing against a model that was quantized for TensorRT', async () => {
    const { code, err } = await box.lowbit('quantize', box.path('model.onnx'), '-c', box.path('data.npz'), '--target', 'tensorrt', '-o', box.path('trt.onnx'))
    expect([code, err]).toEqual([0, ''])
    const { out } = await box.lowbit('doctor', box.path('trt.onnx'), '-t', 'tensorrt', '--json')
    expect(JSON.parse(out)).toEqual({ findings: [] })
    expect(statSync(box.path('trt.onnx')).size).toBeLessThan(0.6 * statSync(box.path('model.onnx')).size)
    const usual = await box.lowbit('quantize', box.path('model.onnx'), '-c', box.path('data.npz'), '-o', box.path('usual.onnx'))
    expect(usual.code).toBe(0)
    expect((await box.lowbit('doctor', box.path('usual.onnx'), '-t', 'tensorrt')).code).toBe(1)
    expect((await box.lowbit('quantize', box.path('model.onnx'), '-c', box.path('data.npz'), '--target', 'tensorrt', '-f', 'qoperator')).code).toBe(2)
  })

  it('writes nothing where there is nothing to repair', async () => {
    const { code, out } = await box.lowbit('doctor', box.path('model.onnx'), '--fix', '-o', box.path('fixed.onnx'))
    expect(code).toBe(0)
    expect(out).toContain('nothing that --fix can repair')
    expect(existsSync(box.path('fixed.onnx'))).toBe(false)
  })

  it.each([
    ['-o without --fix', ['model.onnx', '-o', 'x.onnx'], 2],
    ['a file that is not there', ['nothing.onnx'], 1],
    ['an unknown target', ['model.onnx', '-t', 'tensorflow'], 2],
  ])('refuses %s', async (_, [model = '', ...args], code) => {
    const done = await box.lowbit('doctor', box.path(model), ...args)
    expect(done.code).toBe(code)
    expect(done.err).toMatch(/^LOWBIT_/)
  })
})

describe('lowbit float16', () => {
  it('halves a model, says what it compared, and replaces nothing with --no-clobber', async () => {
    const { code, out } = await box.lowbit('float16', box.path('model.onnx'), '-c', box.path('data.npz'), '-o', box.path('half.onnx'), '--json')
    expect(code).toBe(0)
    const { comparison, sizeAfter } = JSON.parse(out) as { comparison: { outputs: { sqnr: number }[] }; sizeAfter: number }
    expect(comparison.outputs[0].sqnr).toBeGreaterThan(50)
    expect(sizeAfter).toBe(statSync(box.path('half.onnx')).size)
    expect(sizeAfter).toBeLessThan(0.6 * statSync(box.path('model.onnx')).size)
    expect((await box.lowbit('float16', box.path('model.onnx'), '-o', box.path('half.onnx'), '--no-clobber')).code).toBe(1)
    expect((await box.lowbit('float16', box.path('model.onnx'), '-o', box.path('model.onnx'))).code).toBe(2)
  })
})
