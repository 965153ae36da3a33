import { int8, quantize } from '@lowbit/core'
import { describe, expect, it } from 'vitest'
import { openOnnx } from '../src/index.js'
import { convolutions, matrices } from './support/models.js'
import { RUNTIMES } from './support/runtimes.js'

describe('static int8 of a model that was not prepared', () => {
  it.each([matrices(7, 3), matrices(8, 3), convolutions(8)])('$name: upgrades the opset, says so, and runs on both runtimes', async ({ bytes, batch }) => {
    for (const format of ['qdq', 'qoperator']) {
      const host = await openOnnx(bytes)
      const { artifact } = await quantize(host, { format, weights: int8(), activations: { dtype: 'uint8' }, calibration: [batch] })
      expect(artifact.notes.join()).toMatch(/opset [78] upgraded to 13/)
      for (const { ort } of RUNTIMES) {
        const written = await openOnnx(artifact.bytes(), { ort })
        expect(Object.keys(await written.run(batch))).toEqual(['y'])
        await written.dispose()
      }
      await host.dispose()
    }
  })
})
