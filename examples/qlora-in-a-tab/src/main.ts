import { learningCurveSvg } from '@lowbit/core'
import type { Answer, Request } from './messages.js'

function element<T extends HTMLElement>(id: string, kind: new () => T): T {
  const found = document.getElementById(id)
  if (!(found instanceof kind)) throw new Error(`no ${id}`)
  return found
}

const files = element('files', HTMLInputElement)
const text = element('text', HTMLTextAreaElement)
const steps = element('steps', HTMLInputElement)
const rank = element('rank', HTMLInputElement)
const start = element('start', HTMLButtonElement)
const stop = element('stop', HTMLButtonElement)
const status = element('status', HTMLDivElement)
const curve = element('curve', HTMLDivElement)
const downloads = element('downloads', HTMLDivElement)

const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' })
const ask = (request: Request): void => {
  worker.postMessage(request)
}

let points: [number, number][] = []

function idle(isIdle: boolean): void {
  start.disabled = !isIdle
  stop.disabled = isIdle
}

start.addEventListener('click', () => {
  const chosen = [...(files.files ?? [])]
  if (chosen.length === 0 || text.value.trim() === '') {
    status.textContent = 'Choose a model and paste a text first.'
    return
  }
  points = []
  downloads.replaceChildren()
  idle(false)
  ask({ kind: 'train', files: chosen, text: text.value, steps: Number(steps.value), rank: Number(rank.value) })
})
stop.addEventListener('click', () => {
  status.textContent = 'Stopping at the next layer …'
  ask({ kind: 'stop' })
})

worker.addEventListener('message', ({ data }: MessageEvent<Answer>) => {
  switch (data.kind) {
    case 'progress':
      status.textContent = `${data.what}: ${data.done} of ${data.total}`
      return
    case 'step':
      points.push([data.step, data.loss])
      status.textContent = `Step ${data.step} of ${data.steps}: loss ${data.loss.toFixed(3)}, ${data.tokensPerSecond.toFixed(0)} tokens a second, ${Math.ceil(data.secondsLeft)} s left`
      // The picture is made of numbers alone.
      curve.innerHTML = learningCurveSvg([{ name: 'loss', points }])
      return
    case 'done':
      status.textContent = `${data.steps} steps are done. The adapter goes beside the model it was trained on.`
      downloads.replaceChildren(...data.files.map(({ name, bytes }) => {
        const link = document.createElement('a')
        link.href = URL.createObjectURL(new Blob([bytes]))
        link.download = name
        link.textContent = `${name} (${(bytes.length / 1e6).toFixed(2)} MB)`
        return link
      }))
      return idle(true)
    case 'error':
      status.textContent = data.message
      return idle(true)
  }
})
