import { statSync } from 'node:fs'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { sandbox, type Sandbox } from './support/sandbox.js'

// Whoever loads a runtime in this file fails.
const refused = vi.hoisted(() => (name: string) => (): never => {
  throw new Error(`${name} was loaded`)
})
vi.mock('onnxruntime-node', refused('onnxruntime-node'))
vi.mock('onnxruntime-web', refused('onnxruntime-web'))
vi.mock('../../backend-ort/src/host/onnx-host.js', async (original) => ({ ...(await original<object>()), OnnxHost: function OnnxHost() { throw new Error('a host with a runtime was opened') } }))

let box: Sandbox
beforeAll(() => void (box = sandbox()))
afterAll(() => box.remove())

it.each([
  ['-w', 'int4'],
  ['-w', 'int4', '--group', '16', '--algorithm', 'hqq'],
  ['-w', 'int8', '--format', 'dynamic'],
])('rounds weights without data and loads no runtime: %s %s %s %s', async (...flags) => {
  const { code, err } = await box.lowbit('quantize', box.path('model.onnx'), ...flags.filter((f) => f !== undefined), '-o', box.path('out.onnx'), '--force').catch((error: unknown) => ({ code: 1, err: String(error) }))
  expect([code, err]).toEqual([0, expect.any(String)])
  expect(statSync(box.path('out.onnx')).size).toBeLessThan(statSync(box.path('model.onnx')).size)
})

it('would have seen it: what looks at data runs the model', async () => {
  const { code, err } = await box.lowbit('quantize', box.path('model.onnx'), '-w', 'int4', '-c', box.path('data.npz'), '-o', box.path('calibrated.onnx'))
  expect(code).not.toBe(0)
  expect(err).toMatch(/was opened|was loaded/)
})
