import { sentenceOf } from './sentence.js'
import type { LabAnswer, LabRequest } from './messages.js'

/** All that computes: the page's own thread only shows. What inspects is small; what quantizes is loaded when it is first asked for. */
addEventListener('message', ({ data: request }: MessageEvent<LabRequest>) => {
  const { id } = request
  const answer = (message: LabAnswer): void => postMessage(message)
  const work = async (): Promise<void> => {
    if (request.type === 'inspect') {
      const { inspectFiles } = await import('./inspect.js')
      answer({ type: 'inspected', id, inspection: await inspectFiles(request.model) })
    } else {
      const { runVariant } = await import('./run-variant.js')
      answer({ type: 'done', id, result: await runVariant(request, (progress) => answer({ type: 'progress', id, progress })) })
    }
  }
  work().catch((error: unknown) => answer({ type: 'failed', id, failure: sentenceOf(error) }))
})
