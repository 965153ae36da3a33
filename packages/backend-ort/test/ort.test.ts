import * as native from 'onnxruntime-node'
import * as web from 'onnxruntime-web'
import { describe, expect, it } from 'vitest'
import { findOrt, type OrtModule } from '../src/index.js'

describe('findOrt', () => {
  it('takes either runtime as it is: the types fit', async () => {
    const both: OrtModule[] = [native, web]
    for (const ort of both) expect(await findOrt(ort)).toBe(ort)
  })

  it('finds the native package in Node by itself', async () => {
    expect((await findOrt()).InferenceSession).toBe(native.InferenceSession)
  })
})

