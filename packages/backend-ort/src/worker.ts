/**
 * A worker that quantizes ONNX models, ready for `quantizeInWorker` of `@lowbit/jobs`. An entry of its own: bundlers that find the
 * worker in it (Vite, webpack) put it into a file of its own.
 */

/** What `quantizeInWorker` may give this worker as `open`. */
export type { OnnxWorkerOptions } from './quantize-worker.js'

/**
 * Starts one. The worker's file needs no other: it also runs where nothing is bundled.
 * @param url - where that file lies, for bundlers that do not find it by themselves (esbuild, Rollup): copy
 * `@lowbit/backend-ort/quantize-worker.js` beside the page's files. It must be of the page's origin, which also is what a
 * Content-Security-Policy of `worker-src 'self'` asks for.
 */
export function onnxWorker(url?: string | URL): Worker {
  return url === undefined ? new Worker(new URL('./quantize-worker.js', import.meta.url), { type: 'module' }) : new Worker(url, { type: 'module' })
}
