import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync, copyFileSync } from 'node:fs'
import { readOnnx } from '@lowbit/formats'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { sandbox, type Sandbox } from './support/sandbox.js'

let box: Sandbox
beforeEach(() => {
  box = sandbox()
})
afterEach(() => box.remove())

describe('lowbit publish', () => {
  it('writes the variants of transformers.js with a card, and takes the tokenizer along', async () => {
    mkdirSync(box.path('hub/onnx'), { recursive: true })
    copyFileSync(box.path('model.onnx'), box.path('hub/onnx/model.onnx'))
    writeFileSync(box.path('hub/config.json'), '{"model_type":"bert"}')
    writeFileSync(box.path('hub/notes.txt'), 'private')
    const { code, out } = await box.lowbit('publish', box.path('hub/onnx/model.onnx'), '-o', box.path('web'), '-c', box.path('data.npz'))
    expect(code).toBe(0)
    expect(out).toContain('7 of 7 variants')
    expect(readdirSync(box.path('web')).sort()).toEqual(['README.md', 'config.json', 'onnx'])
    expect(readdirSync(box.path('web/onnx')).sort()).toEqual(['model.onnx', 'model_fp16.onnx', 'model_int8.onnx', 'model_q4.onnx', 'model_q4f16.onnx', 'model_quantized.onnx', 'model_uint8.onnx'])
    const size = (name: string): number => statSync(box.path(`web/onnx/${name}`)).size
    expect(size('model_quantized.onnx')).toBeLessThan(0.5 * size('model.onnx'))
    expect(size('model_q4f16.onnx')).toBeLessThan(size('model_q4.onnx'))
    const q4 = readOnnx(readFileSync(box.path('web/onnx/model_q4.onnx'))).graph?.node.filter((n) => n.opType === 'MatMulNBits') ?? []
    expect(q4.map((n) => n.attribute.find((a) => a.name === 'accuracy_level')?.i)).toEqual([4n, 4n])
    const card = readFileSync(box.path('web/README.md'), 'utf8')
    expect(card).toMatch(/model_quantized\.onnx` \| q8 .* \d\d\.\d dB \|/)
    expect(card).not.toContain('random numbers')
  })

  it('does not write what is ruined, and says so', async () => {
    const { out, code } = await box.lowbit('publish', box.path('model.onnx'), '-o', box.path('web'), '-d', 'q8,q2', '--json')
    expect(code).toBe(0)
    const [q8, q2] = JSON.parse(out) as { dtype: string; size?: number; refused?: string }[]
    expect(q8.size).toBeGreaterThan(0)
    if (q2.refused === undefined) throw new Error('two bits without data were not ruined')
    expect(q2.refused).toContain('ruined')
    expect(readdirSync(box.path('web/onnx'))).toEqual(['model_quantized.onnx'])
    expect(readFileSync(box.path('web/README.md'), 'utf8')).toContain('- q2: ruined')
  })

  it.each([
    ['a folder with something in it', ['model.onnx', '-o', '.'], 1],
    ['a dtype that there is not', ['model.onnx', '-o', 'web', '-d', 'q5'], 2],
    ['no folder', ['model.onnx'], 2],
  ])('refuses %s', async (_, [model = '', ...args], code) => {
    const done = await box.lowbit('publish', box.path(model), ...args.map((a) => (a === '.' || a === 'web' ? box.path(a) : a)))
    expect(done.code).toBe(code)
  })
})
