import { openOnnxGraph } from '@lowbit/onnx'
import { inspectModel } from '@lowbit/report'
import { expectRoom } from './memory.js'
import type { ModelFiles, OnnxInspection } from './messages.js'

/** What is inside a model. */
export async function inspectFiles({ name, file, data }: ModelFiles): Promise<OnnxInspection> {
  expectRoom(name, file.size + [...data.values()].reduce((sum, f) => sum + f.size, 0))
  const host = await openOnnxGraph(file, { externalData: data })
  try {
    return { ...inspectModel(host), opset: host.graphNow().opset(), prepared: host.prepared }
  } finally {
    await host.dispose()
  }
}
